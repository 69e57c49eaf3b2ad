"""Every table of the comparison, from the score files alone."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from speech_emotion.evaluation.fold_scores import FoldScores, read_fold_scores
from speech_emotion.evaluation.report_table import ReportTable
from speech_emotion.evaluation.summary import summarize_systems
from speech_emotion.evaluation.system_scores import SystemScores, gather_systems
from speech_emotion.evaluation.tables import csv_table
from speech_emotion.files import write_text

from .claim_tables import claims_table, comparison_table
from .claims import evaluate_claims
from .paper_figures import published_figures
from .report_sections import system_sections

CLAIMS = "claims"
FEW_SPEAKERS = 20


def write_report(results: Path, output: Path, corpora: list[str] | None = None) -> list[Path]:
    """Write the tables of finished runs.

    For each corpus there is `<corpus>.md`, `.csv` and `.tex`: a summary of all systems, recall and confusions, UAR by
    sex and speaker, calibration, abstention, chance and the planned comparisons; for all together `claims.md`, `.csv`
    and `.tex`. The same results give the same bytes. The CSV files hold one number a line: table, row, column, value.

    Args:
        results: Folder of the score files.
        output: Folder for the tables; made if it is not there.
        corpora: Names of the corpora, or of their parts, to write tables of; `None` for all that have results. The
            planned comparisons always take all results, so that their correction does not depend on this choice.

    Returns:
        The files, by corpus.

    Raises:
        ValueError: If there are no results, or none of a corpus asked for, or their files contradict each other.
    """
    by_corpus: dict[str, list[FoldScores]] = {}
    for entry in read_fold_scores(results):
        by_corpus.setdefault(entry.corpus, []).append(entry)
    if not by_corpus:
        raise ValueError(f"{results} holds no score files; cross_validate.py writes them.")
    absent = [name for name in corpora or () if name not in by_corpus]
    if absent:
        raise ValueError(f"{results} has no scores of {', '.join(absent)}, only of {', '.join(by_corpus)}.")
    gathered = {name: gather_systems(entries) for name, entries in by_corpus.items()}
    findings = evaluate_claims(gathered)
    output.mkdir(parents=True, exist_ok=True)
    written = []
    for name in sorted(corpora or by_corpus):
        systems = gathered[name]
        tables = [summarize_systems(systems, published_figures(name))]
        tables += system_sections([system for system in systems if system.seeds])
        of_corpus = [finding for finding in findings if finding.comparison.condition == name]
        tables += [comparison_table(of_corpus)] if of_corpus else []
        written += _write(output, name, _introduction(systems), reconstruct_command(systems), tables)
    everything = [system for systems in gathered.values() for system in systems]
    introduction = "The paper's claims, tested by planned comparisons: those that planned_comparisons.py fixes."
    tables = [claims_table(findings), comparison_table(findings)]
    return written + _write(output, CLAIMS, introduction, reconstruct_command(everything), tables)


def reconstruct_command(systems: Sequence[SystemScores]) -> str:
    """Return the command that computes the scores of some systems.

    Args:
        systems: Gathered from the score files.

    Returns:
        The command; it also computes what is missing.
    """
    values = {
        "--corpora": sorted({system.corpus for system in systems}),
        "--systems": sorted({system.system for system in systems}),
        "--seeds": [str(seed) for seed in sorted({seed for system in systems for seed in system.planned_seeds})],
    }
    words = [word for option, of_option in values.items() for word in (option, *of_option)]
    return shlex.join(["python", "cross_validate.py", *words])


def _introduction(systems: Sequence[SystemScores]) -> str:
    """What was tested on, in a sentence or two."""
    complete = [system for system in systems if system.seeds]
    if not complete:
        return "No system has a complete seed yet: there are no figures."
    clips = complete[0].test
    speakers = set(clips.speakers) - {None}
    text = (
        f"{len(clips.ids)} test clips of {len(speakers)} speakers, {len(clips.labels)} emotions "
        f"({', '.join(clips.labels)}), {len(complete[0].planned_folds)} folds. A constant answer has a UA of "
        f"{100 / len(clips.labels):.1f} %."
    )
    if len(speakers) < FEW_SPEAKERS:
        text += f" With {len(speakers)} speakers, intervals by resampling them are too narrow."
    return text


def _write(output: Path, name: str, introduction: str, command: str, tables: Sequence[ReportTable]) -> list[Path]:
    records = [record for table in tables for record in table.records()]
    heading = f"# {'Claims' if name == CLAIMS else name}"
    markdown = [heading, introduction, f"```\n{command}\n```", *(table.markdown() for table in tables)]
    latex = [f"% {command}\n% needs \\usepackage{{booktabs,longtable}}", *(table.latex(name) for table in tables)]
    return [
        write_text(output / f"{name}.md", "\n\n".join(markdown) + "\n"),
        write_text(output / f"{name}.csv", csv_table(["table", "row", "column", "value"], records)),
        write_text(output / f"{name}.tex", "\n\n".join(latex) + "\n"),
    ]


__all__ = ["reconstruct_command", "write_report"]
