"""Runs measurements and writes their sections of RESULTS.md: `python -m benchmarks [NAME …]`."""

import argparse
import importlib
import os
import pkgutil
import platform
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import benchmarks
from speech_emotion.files import write_text

RESULTS = Path(__file__).with_name("RESULTS.md")
PREFIX = "bench_"
PACKAGES = ("torch", "transformers", "librosa", "numpy", "scipy", "soundfile", "soxr")
SECTION = re.compile(r"## .*?\n\nRepeat with `python -m benchmarks (\w+)`\.", re.DOTALL)  # of one measurement


def list_names() -> list[str]:
    """Names of the measurements there are."""
    modules = (module.name for module in pkgutil.iter_modules(benchmarks.__path__))
    return sorted(name.removeprefix(PREFIX) for name in modules if name.startswith(PREFIX))


def describe_machine() -> str:
    """What figures were measured on, and when."""
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    return (
        f"{cpu_model()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}; Python "
        f"{platform.python_version()}, {versions}; {datetime.now(UTC):%d %B %Y}."
    )


def cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def read_sections(page: str) -> dict[str, str]:
    """Take a page apart: measurement → its section."""
    return {found[1]: found[0] for found in SECTION.finditer(page)}


def write_page(sections: Mapping[str, str]) -> str:
    """Join sections, by name."""
    return "\n\n".join(["# Measurements", *(sections[name] for name in sorted(sections))]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"by default all of {', '.join(list_names())}")
    names = parser.parse_args().names or list_names()
    unknown = sorted(set(names) - set(list_names()))
    if unknown:
        parser.error(f"there is no measurement {unknown[0]!r}; there are {', '.join(list_names())}")
    for name in names:
        print(f"measuring {name} ...", file=sys.stderr)
        section = importlib.import_module(f"benchmarks.{PREFIX}{name}").main()
        section += f"\n\nOn {describe_machine()}\n\nRepeat with `python -m benchmarks {name}`."
        print(section, end="\n\n")
        before = read_sections(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
        write_text(RESULTS, write_page(before | {name: section}))  # at once: all of them take hours


if __name__ == "__main__":
    main()
