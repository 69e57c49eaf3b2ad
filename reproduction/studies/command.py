"""`ser study`: what DeepSpeech's layers hold, and which heads of a trained model matter."""

import argparse
from collections.abc import Sequence

from speech_emotion.cli.entry import run_part

from reproduction.studies.head_agreement import HeadAgreement
from reproduction.studies.head_findings import HeadStudy
from reproduction.studies.head_study import run_head_study
from reproduction.studies.layer_activations import LAYERS
from reproduction.studies.layer_correlation import CONDITIONS
from reproduction.studies.layer_findings import LayerStudy
from reproduction.studies.layer_study import INTENSITIES, PAPER_LABELS, LayerStudyArguments, run_layer_study
from speech_emotion.evaluation import text_table
from speech_emotion.training.arguments import DataArguments


def get_parser(prog: str = "ser study") -> argparse.ArgumentParser:
    """Return the parser of `ser study`."""
    parser = argparse.ArgumentParser(prog=prog, description="Studies of what the models do.")
    studies = parser.add_subparsers(dest="study", required=True, metavar="{layers,heads}")

    layers = studies.add_parser("layers", help="correlate and probe the six layers of a DeepSpeech on RAVDESS")
    layers.add_argument("--data_dir", help="folder of RAVDESS (default: its usual place)")
    layers.add_argument("--encoder", help="folder or Hub id of a DeepSpeech (default: the one of this library)")
    layers.add_argument("--encoder_revision", help="its revision on the Hub")
    layers.add_argument("--labels", nargs="+", default=list(PAPER_LABELS), help="emotions to correlate")
    layers.add_argument("--intensity", choices=list(INTENSITIES), default="normal", help="of the correlated clips")
    layers.add_argument("--num_folds", type=int, default=6, help="folds of speakers for the probe (default: 6)")
    layers.add_argument("--cache_dir", help="folder for what is built")
    layers.add_argument("--output_dir", default="outputs/layers", help="where to (default: outputs/layers)")
    layers.set_defaults(run=_layers)

    heads = studies.add_parser("heads", help="drop each attention head of trained models in turn")
    heads.add_argument("--model", nargs="+", required=True, help="folders of runs, as train.py leaves them")
    heads.add_argument("--corpus", required=True, help="the corpus that they were trained on")
    heads.add_argument("--data_dir", help="folder of the corpus (default: its usual place)")
    heads.add_argument("--config", help="configuration of the corpus")
    heads.add_argument("--cache_dir", help="folder for what is built")
    heads.add_argument("--output_dir", default="outputs/heads", help="where to (default: outputs/heads)")
    heads.set_defaults(run=_heads)
    return parser


def main(argv: Sequence[str] | None = None, prog: str = "ser study") -> int:
    """Run a study, write its figures and numbers, and print what it found."""
    return run_part(get_parser(prog), argv)


def layer_summary(study: LayerStudy) -> str:
    """Write the layers' figures as tables."""
    parts = []
    for variant, found in study.correlations.items():
        header = ["layer", *CONDITIONS, "effect of emotion", "effect of speaker"]
        rows = [
            [
                layer,
                *(f"{found[layer].conditions[name][0]:.3f}" for name in CONDITIONS),
                *("{:.3f} ({:.3f} to {:.3f})".format(*value) for value in found[layer].effects.values()),
            ]
            for layer in LAYERS
        ]
        parts.append(f"Pearson's r, {variant}; effects are falls from two repetitions\n{text_table(header, rows)}")
    rows = [
        [layer, f"{100 * ua.value:.1f}%", f"{100 * ua.low:.1f}% to {100 * ua.high:.1f}%"]
        for layer, ua in ((layer, study.probes[layer].ua) for layer in LAYERS)
    ]
    parts.append(f"Linear probe\n{text_table(['layer', 'UA', '95% interval'], rows)}")
    return "\n\n".join(parts)


def head_summary(study: HeadStudy) -> str:
    """Write the heads' figures as a table."""

    def cell(values: Sequence[float], factor: float, digits: int) -> str:
        value, low, high = (f"{factor * number:.{digits}f}" for number in values)
        return value if low == "nan" else f"{value} ({low} to {high})"

    rows = [
        [name, cell(study.mean_importance[:, number], 1, 3), cell(study.ua_change[:, number], 100, 1)]
        for number, name in enumerate(study.names)
    ]
    table = text_table(["head", "importance (nats)", "change of UA (points)"], rows)
    clips = study.clips
    low, high = clips.chance_w
    lines = [
        f"{study.model}: {len(study.ids)} test clips, UA {100 * study.ua:.1f}%",
        table,
        f"Clips agree on the order of the heads with Kendall's W = {clips.kendall_w:.3f} (shuffled: {low:.3f} to "
        f"{high:.3f}; p = {clips.permutation_p:.4f}), Friedman's χ² = {clips.friedman_chi2:.1f} "
        f"(p = {clips.friedman_p:.2g}); mean Spearman correlation of two clips {clips.mean_spearman:.3f}.",
    ]
    speakers = study.speakers_agreement
    if speakers is None:
        lines.append("There is one test speaker: whether speakers agree is not known from this model.")
    else:
        low, high = speakers.chance_w
        lines.append(
            f"The {speakers.raters} speakers' means: W = {speakers.kendall_w:.3f} (shuffled: {low:.3f} to {high:.3f}; "
            f"p = {speakers.permutation_p:.4f})."
        )
    return "\n".join(lines)


def agreement_summary(pooled: HeadAgreement | None) -> str:
    """Say what all models give together."""
    if pooled is None:
        return "No model has two test speakers: whether heads matter alike to several speakers is not known."
    lead, correlation = ("{:.3f} ({:.3f} to {:.3f})".format(*values) for values in (pooled.lead, pooled.correlation))
    return (
        f"All {pooled.models} models with several test speakers, {pooled.speakers} speakers: the head that counts "
        f"most for the others leads the rest by {lead} nats; two clips of different speakers rank the heads with a "
        f"correlation of {correlation}."
    )


def _layers(args: argparse.Namespace) -> list[str]:
    words = {name: value for name, value in vars(args).items() if name not in ("study", "run")}
    return [f"{layer_summary(run_layer_study(LayerStudyArguments(**words)))}\n\nSaved in {args.output_dir}"]


def _heads(args: argparse.Namespace) -> list[str]:
    data = DataArguments(corpus=args.corpus, data_dir=args.data_dir, config=args.config, cache_dir=args.cache_dir)
    studies, pooled = run_head_study(args.model, data, args.output_dir)
    return ["\n\n".join([*map(head_summary, studies), agreement_summary(pooled), f"Saved in {args.output_dir}"])]


__all__ = ["agreement_summary", "get_parser", "head_summary", "layer_summary", "main"]
