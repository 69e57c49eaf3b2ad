"""The results as the README shows them: one table, the claims in sentences, and how to compute it all."""

from collections.abc import Sequence
from pathlib import Path

from speech_emotion.evaluation.count_metrics import CountMetric, ua, wa
from speech_emotion.evaluation.report_table import MISSING, format_cell
from speech_emotion.evaluation.seed_metrics import mean_sd, pooled_metrics
from speech_emotion.evaluation.summary import speaker_interval
from speech_emotion.evaluation.system_scores import SystemScores
from speech_emotion.evaluation.tables import markdown_table
from speech_emotion.evaluation.titles import reduced_note

from .claim_sentences import aim_sentences, beside_sentence, claim_sentences
from .claim_tables import by_claim
from .claims import Finding, evaluate_claims
from .head_claim import head_sentence
from .layer_section import layer_section
from .planned_comparisons import BEST_NOTE, HISTORY, LEAST_SEEDS, OURS
from .reading_order import condition_title
from .recomputing import commands, hours_text, settings_text
from .report import read_results

REGION = "results"
NO_RESULTS = "No fold has been computed yet."
HEADER = ("corpus", "system", "WA, %", "UA, %", "seeds", "folds", "hours")
FIGURES: dict[str, CountMetric] = {"wa": wa, "ua": ua}
NOTE = (
    "No speaker is both trained on and tested. WA and UA: test clips of all folds pooled, mean ± SD over seeds; in "
    "brackets the 95 % interval of that mean, by 10,000 bootstrap resamples of the test speakers. Only seeds with all "
    "folds have a part in figures; what is **partial** lacks seeds or folds, or has fewer than {least} seeds. Hours: "
    "of training and scoring, of all finished folds; features were computed before, once, which takes minutes "
    "(`python -m benchmarks.bench_corpus_features`). Each corpus's page has F1, recall, confusions, calibration, and "
    "figures by speaker, sex and fold."
)
CLAIMS_NOTE = (
    f"{HISTORY} Differences are in points, their 95 % intervals over speakers; the interval alone decides: supported, "
    "contradicted, or not decided. It is of these trainings (the spread over seeds is left out), is not corrected "
    "for several comparisons, and is too narrow where speakers are few, such as EmoDB's ten. p: Wilcoxon over the "
    "speakers' own figures, each speaker weighing alike, after Holm's correction over all differences planned on "
    "EmoDB, RAVDESS and ASED. ASED stands for the paper's IEMOCAP. Model-1 hears the words too: its spectrogram "
    "holds them, so that claims 2 and 2b compare two ways of hearing words. Models 2 and 3 have the small DeepSpeech "
    "of this library, not the paper's."
)


def results_region(results: str | Path, folder: str = "results") -> str:
    """Write what the README says of the results.

    Args:
        results: Folder of the score files.
        folder: Where the tables lie, as the README links to it.

    Returns:
        Markdown: a table of all systems on all corpora, the claims, the comparison with openSMILE, and the command.

    Raises:
        ValueError: If a file is damaged, or files contradict each other.
    """
    conditions = read_results(results)
    lead = "<!-- Written by `make report` from the score files. Change neither a figure nor a word by hand. -->"
    if not conditions:
        return f"{lead}\n\n{NO_RESULTS}"
    rows = [row for name, systems in conditions.items() for row in _rows(name, systems, folder)]
    findings = evaluate_claims(conditions)
    groups = {ours: [one for one in findings if (one.comparison.claim in OURS) == ours] for ours in (False, True)}
    everything = [system for systems in conditions.values() for system in systems]
    reduced = reduced_note(system.title for system in everything)
    layers = layer_section(results, folder)
    return "\n\n".join(
        [
            lead,
            markdown_table(HEADER, rows),
            " ".join(filter(None, [NOTE.format(least=LEAST_SEEDS), reduced, settings_text(everything)])),
            "### The paper's claims",
            f"{CLAIMS_NOTE} [All figures]({folder}/claims.md).",
            "\n".join(filter(None, [_claims(groups[False]), head_sentence(results), beside_sentence(conditions)])),
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
            ours = {"best": "the best recipe's comparisons", "second": "the second one's"}
            names = [ours.get(claim, claim) for claim in rest]
            what = " and ".join(names) if rest[0] in ours else f"claim{'s' * (len(rest) > 1)} {', '.join(names)}"
            lines.append(f"- Not run, for want of complete results on {family}: {what}.")
    return "\n".join(lines)


def _rows(name: str, systems: Sequence[SystemScores], folder: str) -> list[list[str]]:
    """The rows of a condition; its first says which it is, how many emotions it has, and what chance gives."""
    labels = len(systems[0].labels)
    title = f"[{condition_title(name)}]({folder}/{name}.md): {labels} emotions, chance UA {100 / labels:.1f}"
    return [[title if not place else "", *_row(system)] for place, system in enumerate(systems)]


def _row(system: SystemScores) -> list[str]:
    planned = max(len(system.planned_seeds), LEAST_SEEDS)
    seeds = f"{len(system.seeds)} of {planned}"
    figures = [_figure(system, name) if system.seeds else MISSING for name in FIGURES]
    return [
        system.title,
        *figures,
        seeds if len(system.seeds) == planned else f"**partial**: {seeds}",
        f"{len(system.parts)} of {planned * len(system.planned_folds)}",
        format_cell(system.hours, "hours"),
    ]


def _figure(system: SystemScores, name: str) -> str:
    """Such as "59.4 ± 2.1 [50.7, 68.6]"."""
    text = format_cell(mean_sd(pooled_metrics(system.test)[name]), "percent")
    interval = speaker_interval(system, FIGURES[name])
    return text if interval is None else f"{text} {format_cell(interval, 'percent')}"


__all__ = ["NO_RESULTS", "REGION", "results_region"]
