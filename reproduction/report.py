"""The pages of the reproduction: of each condition, of the claims, an overview, and the README's table."""

import argparse
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from dataset_scripts.registry import CORPORA
from feature_extraction.safe_text import Markdown
from speech_emotion.cross_validation.report import Report, Section, page_facts
from speech_emotion.cross_validation.report_table import Cell, Column, MeanSD, ReportTable, format_cell, mean_sd
from speech_emotion.cross_validation.score_store import pack
from speech_emotion.cross_validation.score_table import SystemScores, find_system, pooled_metrics
from speech_emotion.cross_validation.system_names import CONTROL
from speech_emotion.cross_validation.tables import named
from speech_emotion.evaluation.tables import markdown_table
from speech_emotion.files import write_text
from speech_emotion.marked_region import read_region, write_region

from .claim_plan import Claim, read_claims
from .claim_tables import claims_table, comparison_table
from .claims import Verdict, by_claim, claim_outcome, evaluate
from .conditions import condition_order, condition_title, read_conditions
from .emobox import NAME as EMOBOX
from .plan import read_plan
from .study_results import HEAD_CORPORA, judge_heads, read_heads, read_layers
from .systems import TITLES, system_title

HERE = Path(__file__).parent
REGION = "results"
PARTIAL = "**partial**"
EMOBOX_PAGE = "emobox"

Gathered = Mapping[str, Sequence[SystemScores]]  # condition → its systems


def system_order(systems: Iterable[SystemScores]) -> list[SystemScores]:
    """Sort systems: each model with its variants, then its controls; openSMILE; others' systems; unknown ones."""
    names = list(TITLES)

    def place(system: SystemScores) -> tuple[int, int, int, str]:
        base = system.system.removesuffix(CONTROL)
        plain = base.removesuffix("-shuffled")
        model = min((name for name in names if plain == name or plain.startswith(f"{name}-")), key=len, default="")
        places = [names.index(name) if name in names else len(names) for name in (model, base)]
        return places[0], (base != plain) + 2 * (base != system.system), places[1], system.system

    return sorted(systems, key=place)


@cache
def read_references() -> dict[str, Any]:
    """Read what to cite, and the figures that EmoBox publishes."""
    return tomllib.loads((HERE / "references.toml").read_text(encoding="utf-8"))


def references(gathered: Gathered) -> list[str]:
    """List what to cite for the corpora and systems of some conditions."""
    corpora = (CORPORA.get(name) or CORPORA.get(name.partition("-")[0]) for name in gathered)
    cited = [corpus.citation.rstrip(".") for corpus in corpora if corpus is not None and corpus.citation]
    works, works_of = (read_references()[name] for name in ("works", "systems"))
    systems = dict.fromkeys(system.system for of_condition in gathered.values() for system in of_condition)
    cited += [works[work] for name in systems for work in works_of.get(name, ())]
    return list(dict.fromkeys([*cited, *([works["emobox"]] if any(map(is_emobox, gathered)) else [])]))


def is_emobox(condition: str) -> bool:
    """Tell whether a condition has EmoBox's folds."""
    known = read_conditions().get(condition)
    return known is not None and known.clips.given == EMOBOX


def emobox_table(gathered: Gathered) -> ReportTable:
    """Tabulate the UA of our systems on EmoBox's folds, and what EmoBox publishes."""
    names = [name for name in gathered if is_emobox(name)]
    columns = [Column("system", "system"), Column("by", "computed by")]
    for name in names:
        clips = read_conditions()[name].clips
        sharing = "shares speakers" if clips.shares_speakers else "speaker-disjoint"
        columns.append(Column(name, f"{condition_title(clips.corpus)} ({sharing})", "percent"))
    ours = system_order({one.system: one for name in names for one in gathered[name]}.values())
    rows: list[list[Cell]] = []
    for system in ours:
        found = [find_system(gathered[name], system.system) for name in names]
        cells = [one and mean_sd(pooled_metrics(one.test)["ua"]) for one in found]
        if any(cells):
            rows.append([named(system), "us", *cells])
    for name, figures in read_references()["emobox"].items():
        rows.append([name, EMOBOX, *(figures[of] / 100 if of in figures else None for of in names)])
    return ReportTable("emobox", "EmoBox's folds", columns, rows)


def as_planned(condition: str, system: SystemScores) -> SystemScores:
    """Give a system the seeds that the plan has for it, perhaps fewer than others', and any that are found beside."""
    runs = list(read_plan().chosen([condition], [system.system]))
    if not runs:
        return system
    seeds = {seed for run in runs for seed in run.seeds} | {seed for seed, _ in system.parts}
    return replace(system, planned_seeds=sorted(seeds))


def _figures(system: SystemScores) -> str:
    """Such as "59.4 ± 2.1 (60.2 ± 1.8)", and whether seeds or folds are still to come."""
    if not system.seeds:
        return PARTIAL
    metrics = pooled_metrics(system.test)
    ua, wa = (format_cell(mean_sd(metrics[name]), "percent") for name in ("ua", "wa"))
    whole = len(system.seeds) == max(len(system.planned_seeds), read_claims().least_seeds)
    return f"{ua} ({wa})" + ("" if whole else f", {PARTIAL}")


class PaperReport(Report):
    """The library's report of a cross-validation, with the paper's claims, figures and words."""

    templates = (HERE / "templates",)
    condition_title = staticmethod(condition_title)
    condition_order = staticmethod(condition_order)
    system_title = staticmethod(system_title)
    system_order = staticmethod(system_order)

    def read(self, results: str | Path, condition: str | None = None) -> dict[str, list[SystemScores]]:
        """Read the scores, and carry out what is planned on them."""
        self.results = Path(results)
        found = super().read(results, condition)
        self.gathered = {name: [as_planned(name, system) for system in systems] for name, systems in found.items()}
        self.findings = evaluate(self.gathered)
        return self.gathered

    def render(self, template: str, **facts: Any) -> str:
        """Fill a template, which may use these words too."""
        words = {
            "cell": format_cell,
            "condition_title": condition_title,
            "system_title": system_title,
            "rules": read_claims(),
            "ua": self._ua,
            "iemocap": any(name.startswith("iemocap") for name in self.gathered),
            "encoder_names": self.encoder_names(),
        }
        return super().render(template, **words | facts)

    def published(self, condition: str) -> Mapping[str, tuple[float, float]]:
        """Return the paper's table of a condition."""
        return read_claims().published.get(condition, {})

    def extra_tables(self, condition: str, gathered: Gathered) -> list[ReportTable]:
        """Make a table of the comparisons that are planned on a condition."""
        planned = [finding for finding in self.findings if finding.comparison.condition == condition]
        return [comparison_table(planned)] if planned else []

    def facts(self, condition: str, systems: Sequence[SystemScores]) -> dict[str, Any]:
        """Return what is known of a condition and of how its systems are computed."""
        known = read_conditions().get(condition)
        plan = read_plan()
        return {
            "condition_note": known.note if known else "",
            "holds_words": known is not None and known.holds_words,
            "systems": [system.system for system in systems],
            "seeds": plan.seeds,
            "recipes": list(plan.recipes(condition)),
            "references": references({condition: systems}),
        }

    def more_pages(self, output: Path, gathered: Gathered) -> list[Path]:
        """Write the pages of the claims, of EmoBox's folds and of the layers, and the overview."""
        tables = [claims_table(self._at_hand()), comparison_table(self._at_hand())]
        section = Section("All figures", tables)
        written = self.write_page(output, "claims", "Claims", [section], "claims", **self.claim_facts(output))
        if any(map(is_emobox, gathered)):
            of_emobox = {name: systems for name, systems in gathered.items() if is_emobox(name)}
            facts = {"conditions": list(of_emobox), "references": references(of_emobox)}
            section = Section("Results", [emobox_table(gathered)])
            written += self.write_page(output, EMOBOX_PAGE, "EmoBox's folds", [section], EMOBOX_PAGE, **facts)
        if layers := read_layers(self.results):
            folder = Path(os.path.relpath(self.results / "layers", output)).as_posix()
            text = self.render("layers.md.j2", studies=layers, folder=folder, corpora=CORPORA)
            written.append(write_text(output / "layers.md", text))
        return [*written, write_text(output / "README.md", self.render("overview.md.j2", **self.overview_facts()))]

    def readme_region(self, folder: str) -> str:
        """Write what the README says of the results, which lie in a folder beside it."""
        plan = read_plan()
        table = self.table(plan.readme_conditions, plan.readme_systems, f"{folder}/")
        aims = list(self._aims())
        outcomes = [aim["reached"].mean >= aim["ua"] for aim in aims if aim["reached"]]
        facts = {"aims": aims, "reached": sum(outcomes), "missed": len(outcomes) - sum(outcomes)}
        return self.render("readme.md.j2", table=table, folder=folder, seeds=len(plan.seeds), **facts)

    def table(self, conditions: Iterable[str], systems: Sequence[str], folder: str = "") -> str:
        """Tabulate systems by conditions in Markdown, with a first row of what guessing would give."""
        columns = {
            name: {system.system: system for system in self.gathered[name]}
            for name in conditions
            if name in self.gathered
        }
        header = ["system", *(Markdown(f"[{condition_title(name)}]({folder}{name}.md)") for name in columns)]
        sizes = [len(next(iter(column.values())).labels) for column in columns.values()]
        chance = ["chance", *(f"{100 / labels:.1f}, {labels} emotions" for labels in sizes)]
        rows = [
            [system_title(name), *(_figures(column[name]) if name in column else "" for column in columns.values())]
            for name in systems
        ]
        return markdown_table(header, [chance, *rows])

    def overview_facts(self) -> dict[str, Any]:
        """Return what the overview says."""
        everything = [system for systems in self.gathered.values() for system in systems]
        names = [system.system for system in system_order({one.system: one for one in everything}.values())]
        facts = {
            "table": self.table([name for name in self.gathered if not is_emobox(name)], names),
            "emobox": any(map(is_emobox, self.gathered)),
            "systems": names,
            "layers": read_layers(self.results),
            "transfer": (self.results / "transfer" / "README.md").is_file(),
        }
        return page_facts(everything) | facts

    def claim_facts(self, output: Path) -> dict[str, Any]:
        """Return what the page of the claims says, which lies in a folder."""
        at_hand, heads = self._at_hand(), read_heads(self.results)
        beside = {name: evaluate(self.gathered, planned) for name, planned in read_claims().beside.items()}
        everything = [system for systems in self.gathered.values() for system in systems]
        return page_facts(everything) | {
            "carried_out": sum(finding.outcome != "not run" for finding in at_hand),
            "planned": len(at_hand),
            "left_out": list(dict.fromkeys(one.comparison.family for one in self.findings if one not in at_hand)),
            "history": Path(os.path.relpath(HERE / "HISTORY.md", output)).as_posix(),
            "paper": self._claims(ours=False),
            "ours": self._claims(ours=True),
            "heads": heads,
            "heads_outcome": judge_heads(heads),
            "heads_missing": [corpus for corpus in HEAD_CORPORA if corpus not in heads],
            "aims": list(self._aims()),
            "beside": {name: [one for one in found if one.difference] for name, found in beside.items()},
            "references": references(self.gathered),
        }

    def _at_hand(self) -> list[Verdict]:
        """The findings without the families of which nothing was run."""
        run = {finding.comparison.family for finding in self.findings if finding.outcome != "not run"}
        return [finding for finding in self.findings if not run or finding.comparison.family in run]

    def _claims(self, ours: bool) -> dict[str, Any]:
        """The claims of which something was run, and, by family, those of which nothing was."""
        run: list[dict[str, Any]] = []
        not_run: dict[str, list[Claim]] = {}
        for group in by_claim(self.findings):
            of = group[0].comparison
            claim = read_claims().claims[of.claim]
            if claim.ours == ours and {finding.outcome for finding in group} == {"not run"}:
                not_run.setdefault(f"{of.family} ({of.ear})" if of.ear else of.family, []).append(claim)
            elif claim.ours == ours:
                run.append({"claim": claim, "ear": of.ear, "outcome": claim_outcome(group), "findings": group})
        return {"run": run, "not_run": not_run}

    def _aims(self) -> Iterator[dict[str, Any]]:
        for aim in read_claims().aims:
            for number, name in enumerate(aim.systems):
                system = find_system(self.gathered.get(aim.condition, ()), name)
                if number == 0 or system is not None:
                    seeds = len(system.seeds) if system else 0
                    yield vars(aim) | {"system": name, "reached": self._ua(aim.condition, name), "seeds": seeds}

    def _ua(self, condition: str, name: str) -> MeanSD | None:
        """The UA of a system, if it has a complete seed there."""
        system = find_system(self.gathered.get(condition, ()), name)
        return mean_sd(pooled_metrics(system.test)["ua"]) if system else None

    def encoder_names(self) -> list[str]:
        """Return the networks of the linguistic stream."""
        parts = [part for systems in self.gathered.values() for one in systems for part in one.parts.values()]
        return sorted({name for part in parts for name in (part.about.get("encoders") or {}).values()})


def run_report(args: argparse.Namespace) -> Iterator[Path]:
    """Write everything and yield the names of the files."""
    if args.readme is not None:
        read_region(args.readme, REGION)  # a file without marks is refused before anything is written
    if args.pack is not None and any(args.pack.glob("*/*/*.parquet")):
        yield from pack(args.pack, args.results, remove=True)
    report = PaperReport()
    tables = args.tables or args.results
    yield from report.write(args.results, tables)
    if args.readme is not None:
        folder = Path(os.path.relpath(tables, args.readme.resolve().parent)).as_posix()
        yield write_region(args.readme, REGION, report.readme_region(folder))
