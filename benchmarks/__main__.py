"""Runs the measurements and writes RESULTS.md: `python -m benchmarks [--only NAME]`."""

import argparse
import importlib
import os
import pkgutil
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import benchmarks

RESULTS = Path(__file__).with_name("RESULTS.md")
PREFIX = "bench_"
PACKAGES = ("torch", "transformers", "librosa", "numpy", "scipy", "soundfile", "soxr")


def list_names() -> list[str]:
    """Names of the measurements there are, as `--only` takes them."""
    modules = (module.name for module in pkgutil.iter_modules(benchmarks.__path__))
    return sorted(name.removeprefix(PREFIX) for name in modules if name.startswith(PREFIX))


def describe_machine() -> str:
    """What the figures were measured on, as a Markdown list."""
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    return (
        f"- {cpu_model()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}\n"
        f"- Python {platform.python_version()}, {versions}\n"
        f"- {datetime.now(UTC):%d %B %Y}\n"
    )


def cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", choices=list_names(), help="measure this alone, print it, and leave RESULTS.md as it is"
    )
    only = parser.parse_args().only
    sections = []
    for name in [only] if only else list_names():
        print(f"measuring {name} ...", file=sys.stderr)
        section = importlib.import_module(f"benchmarks.{PREFIX}{name}").main()
        sections.append(f"{section}\n\nRepeat with `python -m benchmarks --only {name}`.")
    text = "\n\n".join(["# Measurements", describe_machine().strip(), *sections]) + "\n"
    print(text)
    if not only:
        unfinished = RESULTS.with_suffix(".tmp")
        unfinished.write_text(text, encoding="utf-8")
        os.replace(unfinished, RESULTS)


if __name__ == "__main__":
    main()
