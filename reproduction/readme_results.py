"""The results as the README shows them: systems by corpora, the claims in sentences, and how to compute it all."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from speech_emotion.cross_validation.report_table import format_cell, mean_sd
from speech_emotion.cross_validation.score_table import SystemScores, pooled_metrics
from speech_emotion.cross_validation.titles import compared_note
from speech_emotion.evaluation.tables import markdown_table

from .claim_sentences import aim_sentences, beside_sentences, claim_sentences
from .claim_tables import by_claim
from .claims import Finding, evaluate_claims
from .head_claim import head_sentence
from .layer_section import layer_section
from .planned_comparisons import BEST_NOTE, HISTORY, LEAST_SEEDS, OURS
from .reading_order import condition_title, system_order
from .recomputing import commands, encoders_note, hours_text, settings_text
from .report import PaperReport

REGION = "results"
NO_RESULTS = "No fold has been computed yet."
PARTIAL = "**partial**"
LEAD = "UA, and WA in brackets, in %: mean ± SD over seeds. No speaker is both trained on and tested."
WITHOUT_IEMOCAP = (
    "IEMOCAP was not at hand: no figure of the paper's own tables is reproduced here, and its claims are tested on "
    "other corpora that stand for it."
)
NOTES = (
    "Test clips of all folds are pooled, once per seed. Only seeds with all folds have a part in figures; what is "
    f"{PARTIAL} lacks seeds or folds, or has fewer than {LEAST_SEEDS} seeds.",
    "The page of each corpus, behind its name, has the 95 % intervals over speakers, F1, recall, confusions, "
    "calibration, figures by speaker, sex and fold, and the hours of training and scoring. Features were computed "
    "before, once, which takes minutes (`python -m benchmarks.bench_corpus_features`).",
)
CLAIMS_NOTES = (
    "Differences are in points, with 95 % intervals by 10,000 bootstrap resamples of the speakers. The interval alone "
    "decides: supported, contradicted, or not decided. It is of these trainings (the spread over seeds is left out), "
    "is not corrected for several comparisons, and is too narrow where speakers are few, such as EmoDB's ten.",
    "p: Wilcoxon over the speakers' own figures, each speaker weighing alike, after Holm's correction over all "
    "differences planned on EmoDB, RAVDESS and ASED.",
    "ASED stands for the paper's IEMOCAP. Model-1 hears the words too: its spectrogram holds them. And Model-2 hears "
    "more than words: that DeepSpeech's fifth layer is linguistic is the paper's reading, not shown here. So claims 2 "
    "and 2b compare two ways of hearing speech.",
    HISTORY,
)


def results_region(results: str | Path, folder: str = "results") -> str:
    """Write what the README says of the results."""
    conditions = PaperReport(results).read(results)
    lead = "<!-- Written by `make report` from the score files. Change neither a figure nor a word by hand. -->"
    if not conditions:
        return f"{lead}\n\n{NO_RESULTS}"
    findings = evaluate_claims(conditions)
    groups = {ours: [one for one in findings if (one.comparison.claim in OURS) == ours] for ours in (False, True)}
    everything = [system for systems in conditions.values() for system in systems]
    compared = compared_note(system.title for system in everything)
    layers = layer_section(results, folder)
    return "\n\n".join(
        [
            lead,
            LEAD if any(name.startswith("iemocap") for name in conditions) else f"{LEAD} {WITHOUT_IEMOCAP}",
            _overview(conditions, folder),
            _listed(*NOTES, compared, settings_text(everything)),
            "### The paper's claims",
            "\n".join(filter(None, [_claims(groups[False]), head_sentence(results), *beside_sentences(conditions)])),
            f"How they are judged ([all figures]({folder}/claims.md)):",
            _listed(*CLAIMS_NOTES[:-1], encoders_note(everything), CLAIMS_NOTES[-1]),
            "### Against openSMILE, and what was aimed at",
            BEST_NOTE,
            "\n".join([_claims(groups[True]), *aim_sentences(conditions)]),
            *(["### DeepSpeech's layers", layers] if layers else []),
            "### To compute it anew",
            f"{hours_text(everything)} To compute all of it, or what is missing (`--workers 2`: two folds at once):",
            "\n".join(["```sh", *commands(everything), "make report", "```"]),
        ]
    )


def _claims(findings: Sequence[Finding]) -> str:
    """A list of the claims; those of which nothing was run are only named."""
    groups = by_claim(findings)
    run = [group for group in groups if {finding.outcome for finding in group} != {"not run"}]
    lines = claim_sentences([finding for group in run for finding in group])
    for family in dict.fromkeys(finding.comparison.family for finding in findings):
        rest = [
            group[0].comparison.claim for group in groups if group not in run and group[0].comparison.family == family
        ]
        if rest:
            names = [f"“{OURS[claim]}”" if claim in OURS else claim for claim in rest]
            what = " and ".join(names) if rest[0] in OURS else f"claim{'s' * (len(rest) > 1)} {', '.join(names)}"
            lines.append(f"- Not run, for want of complete results on {family}: {what}.")
    return "\n".join(lines)


def _listed(*sentences: str) -> str:
    """A list of those that say something."""
    return "\n".join(f"- {sentence}" for sentence in sentences if sentence)


def _overview(conditions: Mapping[str, Sequence[SystemScores]], folder: str) -> str:
    """A table of systems by corpora, with a first row of what guessing would give."""
    found = {system.system: system for systems in conditions.values() for system in systems}
    columns = [{system.system: system for system in systems} for systems in conditions.values()]
    header = ["system", *(f"[{condition_title(name)}]({folder}/{name}.md)" for name in conditions)]
    sizes = [len(systems[0].labels) for systems in conditions.values()]
    chance = ["chance", *(f"{100 / labels:.1f}, {labels} emotions" for labels in sizes)]
    rows = [
        [one.title, *(_cell(column[one.system]) if one.system in column else "" for column in columns)]
        for one in system_order(found.values())
    ]
    return markdown_table(header, [chance, *rows])


def _cell(system: SystemScores) -> str:
    """Such as "59.4 ± 2.1 (60.2 ± 1.8)", and whether seeds or folds are still to come."""
    if not system.seeds:
        return PARTIAL
    metrics = pooled_metrics(system.test)
    ua, wa = (format_cell(mean_sd(metrics[name]), "percent") for name in ("ua", "wa"))
    whole = len(system.seeds) == max(len(system.planned_seeds), LEAST_SEEDS)
    return f"{ua} ({wa})" + ("" if whole else f", {PARTIAL}")


__all__ = ["NO_RESULTS", "REGION", "results_region"]
