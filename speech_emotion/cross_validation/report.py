"""Every table of the comparison, from the score files alone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reproduction.claim_sentences import beside_sentences
from reproduction.claim_tables import claims_table, comparison_table, families_at_hand
from reproduction.claims import Finding, evaluate_claims
from reproduction.head_claim import head_sentence
from reproduction.paper_figures import published_figures
from reproduction.planned_comparisons import BEST_NOTE, HISTORY
from reproduction.reading_order import CONDITION_TITLES, condition_order, condition_title, system_order
from reproduction.recomputing import commands, encoders_note, hours_text, settings_text
from reproduction.references import references
from speech_emotion.cross_validation.report_table import ReportTable
from speech_emotion.cross_validation.score_store import FoldScores, read_fold_scores
from speech_emotion.cross_validation.summary import averages_table, summarize_systems
from speech_emotion.cross_validation.system_scores import SystemScores, gather_systems
from speech_emotion.cross_validation.titles import compared_note
from speech_emotion.evaluation.tables import csv_table
from speech_emotion.files import write_text

from .report_sections import Section, system_sections

CLAIMS = "claims"
FEW_SPEAKERS = 20
SCHEMES = {
    "leave-one-speaker-out": ", each testing one speaker",
    "leave-one-session-out": ", each testing the speakers of a session",
    "k-fold": ", each testing a group of speakers",
}


def read_results(results: str | Path) -> dict[str, list[SystemScores]]:
    """Read the scores of all finished folds."""
    by_condition: dict[str, list[FoldScores]] = {}
    for entry in read_fold_scores(results):
        by_condition.setdefault(entry.corpus, []).append(entry)
    return {name: system_order(gather_systems(by_condition[name])) for name in condition_order(by_condition)}


def write_report(results: Path, output: Path, corpora: list[str] | None = None) -> list[Path]:
    """Write the tables of finished runs."""
    gathered = read_results(results)
    if not gathered:
        raise ValueError(f"{results} holds no score files; cross_validate.py writes them.")
    absent = [name for name in corpora or () if name not in gathered]
    if absent:
        raise ValueError(f"{results} has no scores of {', '.join(absent)}, only of {', '.join(gathered)}.")
    findings = evaluate_claims(gathered)
    output.mkdir(parents=True, exist_ok=True)
    written = []
    for name in condition_order(corpora or gathered):
        systems = gathered[name]
        of_condition = [finding for finding in findings if finding.comparison.condition == name]
        complete = [system for system in systems if system.seeds]
        tables = [summarize_systems(systems, published_figures(name))]
        tables += [comparison_table(of_condition)] if of_condition else []
        tables += [averages_table(complete)] if complete else []
        sections = [Section("Results", tables), *system_sections(complete)]
        written += _write(output, name, _introduction(systems), systems, sections)
    at_hand, left_out = families_at_hand(findings)
    everything = [system for systems in gathered.values() for system in systems]
    outcomes = Section("Outcomes", [claims_table(at_hand), comparison_table(at_hand)])
    sentences = "\n".join([head_sentence(results), *beside_sentences(gathered)])
    heard = encoders_note(everything)
    told = f"{sentences}\n\n{heard}" if heard else sentences
    notes = f"## Beside the tables\n\n{told}\n\n## What was fixed, and when\n\n{HISTORY}\n\n{BEST_NOTE}"
    return written + _write(output, CLAIMS, _claims_introduction(at_hand, left_out), everything, [outcomes], notes)


def _introduction(systems: Sequence[SystemScores]) -> str:
    """What was tested on, what figures of chance are, and what is to be known of the condition."""
    name = systems[0].corpus
    note = f"{CONDITION_TITLES[name].note}\n\n" if name in CONDITION_TITLES else ""
    complete = [system for system in systems if system.seeds]
    if not complete:
        return f"{note}No system has a complete seed yet: there are no figures."
    clips, folds = complete[0].test, complete[0].planned_folds
    speakers = set(clips.speakers) - {None}
    largest = np.bincount(clips.truth).max() / len(clips.truth)
    scheme = SCHEMES.get(complete[0].condition_settings.get("scheme"), "")
    text = (
        f"{note}{len(clips.ids)} clips of {len(speakers)} speakers, {len(clips.labels)} emotions "
        f"({', '.join(clips.labels)}). {len(folds)} folds{scheme}: every clip is tested once with each seed, by a "
        "model that never heard its speaker, and the test clips of all folds are pooled.\n\n"
        f"Chance: a constant answer has a UA of {100 / len(clips.labels):.1f} %, and a WA of {100 * largest:.1f} % if "
        "it is the most frequent emotion."
    )
    if len(speakers) < FEW_SPEAKERS:
        text += f" With {len(speakers)} speakers, intervals by resampling them are too narrow."
    return " ".join(filter(None, [text, compared_note(system.title for system in complete)]))


def _claims_introduction(findings: Sequence[Finding], left_out: Sequence[str]) -> str:
    number = sum(finding.outcome != "not run" for finding in findings)
    text = (
        f"The paper's claims, and that our best beats openSMILE, tested by the comparisons in "
        f"`planned_comparisons.py`: {number} of {len(findings)} have been run. "
        "Claim 5 has a study of its own, told below."
    )
    return text + "".join(f" Of those planned on {family} there are no results." for family in left_out)


def _write(
    output: Path,
    name: str,
    introduction: str,
    systems: Sequence[SystemScores],
    sections: Sequence[Section],
    notes: str = "",
) -> list[Path]:
    tables: list[ReportTable] = [table for section in sections for table in section.all_tables()]
    lines = commands(systems)
    records = [record for table in tables for record in table.records()]
    how = "\n".join(["```sh", *lines, "```"])
    told = " ".join(filter(None, [hours_text(systems), settings_text(systems)]))
    blocks = [
        f"# {'Claims' if name == CLAIMS else condition_title(name)}",
        introduction,
        *(section.markdown() for section in sections),
        *([notes] if notes else []),
        f"## How to compute it\n\n{how}\n\n{told} `ser report` writes the tables from the score files.",
    ]
    works = references(dict.fromkeys(system.corpus for system in systems), [system.system for system in systems])
    if works:
        blocks.append("\n".join(["## References\n", *(f"- {work}." for work in works)]))
    latex = [
        *(f"% {line}" for line in lines),
        "% needs \\usepackage{booktabs,longtable}\n",
        "\n\n".join(table.latex(name) for table in tables),
    ]
    return [
        write_text(output / f"{name}.md", "\n\n".join(blocks) + "\n"),
        write_text(output / f"{name}.csv", csv_table(["table", "row", "column", "value"], records)),
        write_text(output / f"{name}.tex", "\n".join(latex) + "\n"),
    ]


__all__ = ["read_results", "write_report"]
