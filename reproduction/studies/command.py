"""`python -m reproduction layers`, `heads` and `transcripts`: their words, and what they print.

The studies load when they run.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speech_emotion.terminal import quiet_unless_terminal

if TYPE_CHECKING:
    from .head_study import HeadAgreement, HeadStudy
    from .layer_study import Quantities


# The slides' rows: anger, fearful, happy, calm, sad.
PAPER_LABELS = ("anger", "fear", "happiness", "calm", "sadness")
PAPER_ENCODERS = ("deepspeech-small", "whisper-base")
PROBE_CORPORA = ("ravdess", "emodb")


def add_studies(parts: Any) -> None:
    """Add the parsers of the studies to a command's parts; each knows by `run` what to run, as `run_command` asks."""
    layers = parts.add_parser("layers", help="correlate and probe the layers of speech encoders")
    layers.add_argument("--data_dir", help="folder of folders of corpora, or of RAVDESS (default: usual places)")
    layers.add_argument(
        "--encoder",
        nargs="+",
        default=PAPER_ENCODERS,
        help=f"short names, folders or Hub ids (default: {' '.join(PAPER_ENCODERS)})",
    )
    layers.add_argument("--encoder_revision", help="revision on the Hub")
    layers.add_argument(
        "--corpora",
        nargs="+",
        default=PROBE_CORPORA,
        help=f"to probe, and RAVDESS (default: {' '.join(PROBE_CORPORA)})",
    )
    layers.add_argument("--labels", nargs="+", default=PAPER_LABELS, help="to correlate (default: the paper's five)")
    layers.add_argument("--intensity", default="normal", help="of these clips: normal (default) or strong")
    layers.add_argument("--num_folds", type=int, default=6, help="folds of RAVDESS's speakers to probe (default: 6)")
    layers.add_argument("--cache_dir", help="folder for what is built")
    layers.add_argument(
        "--output_dir", default="outputs/layers", help="where to, a folder for each (default: outputs/layers)"
    )
    layers.set_defaults(run=run_layers)

    heads = parts.add_parser("heads", help="drop each attention head of trained models in turn")
    heads.add_argument("--model", nargs="+", help="folders of runs (default: those of plan.toml, trained if need be)")
    heads.add_argument("--corpus", help="the corpus that they were trained on")
    heads.add_argument(
        "--data_dir", help="folder of the corpus, without --corpus of folders of corpora (default: usual places)"
    )
    heads.add_argument("--config", help="configuration of the corpus")
    heads.add_argument("--cache_dir", help="folder for what is built")
    heads.add_argument("--output_dir", default="outputs/heads", help="where to (default: outputs/heads)")
    heads.set_defaults(run=run_heads)

    transfer = parts.add_parser("transfer", help="test on a corpus what others taught, as it is and adapted")
    transfer.add_argument("--data_dir", help="folder of folders of corpora (default: usual places)")
    transfer.add_argument("--encoder", default="whisper-base", help="Whisper to read (default: whisper-base)")
    transfer.add_argument("--cache_dir", help="folder for what is built")
    transfer.add_argument("--output_dir", default="outputs/transfer", help="where to (default: outputs/transfer)")
    transfer.set_defaults(run=run_transfer)

    words = parts.add_parser("transcripts", help="count the words that recognizers get wrong on speechocean762")
    words.add_argument(
        "--encoder",
        nargs="+",
        default=("whisper-base", "whisper-tiny.en"),
        help="short names, folders or Hub ids (default: whisper-base whisper-tiny.en)",
    )
    words.add_argument("--data_dir", help="folder of speechocean762 (default: its usual place)")
    words.add_argument("--every", type=int, default=1, help="take one clip in so many (default: 1)")
    words.add_argument("--batch_size", type=int, default=8, help="clips transcribed at once (default: 8)")
    words.add_argument("--cache_dir", help="folder for what is built")
    words.add_argument("--output_dir", default="outputs/transcripts", help="where to (default: outputs/transcripts)")
    words.set_defaults(run=run_transcripts)


def run_transfer(args: argparse.Namespace) -> Iterator[str]:
    """Run the transfer study, write its figures and its page."""
    from .transfer_study import run_transfer_study

    quiet_unless_terminal()
    run_transfer_study(args.output_dir, args.data_dir, args.encoder, args.cache_dir)
    yield f"Saved in {args.output_dir}"


def run_layers(args: argparse.Namespace) -> Iterator[str]:
    """Run the layer study, write its figures and numbers, and yield them as tables."""
    from .layer_study import run_layer_study

    quiet_unless_terminal()
    names = ("data_dir", "encoder_revision", "labels", "intensity", "corpora", "num_folds", "cache_dir")
    for encoder in args.encoder:
        folder = Path(args.output_dir, Path(encoder).name)
        options = {name: getattr(args, name) for name in names}
        yield from layer_tables(run_layer_study(output_dir=folder, encoder=encoder, **options))
        yield f"Saved in {folder}"


def run_heads(args: argparse.Namespace) -> Iterator[str]:
    """Run the head study, write its figures and numbers, and yield them as tables."""
    from speech_emotion.training.arguments import DataArguments

    from .head_study import run_head_study

    data = DataArguments(corpus=args.corpus, data_dir=args.data_dir, config=args.config, cache_dir=args.cache_dir)
    studies, pooled = run_head_study(args.model, data, args.output_dir)
    for study in studies:
        yield from head_tables(study)
    if pooled is not None:
        yield pooled_table(pooled)
    yield f"Saved in {args.output_dir}"


def run_transcripts(args: argparse.Namespace) -> Iterator[str]:
    """Run the study of transcripts, write its numbers, and yield where."""
    from .transcription_study import run_transcription

    quiet_unless_terminal()
    names = ("output_dir", "data_dir", "every", "batch_size", "cache_dir")
    run_transcription(encoders=args.encoder, **{name: getattr(args, name) for name in names})
    yield Path(args.output_dir, "transcripts.md").read_text(encoding="utf-8")
    yield f"Saved in {args.output_dir}"


def layer_tables(found: "Quantities") -> Iterator[str]:
    """Yield a table of the layers for each variant of the correlations and for the probe."""
    from speech_emotion.evaluation import text_table

    for start in ("plain", "centered", "probe"):
        names = [name for name in next(iter(found.values())) if name.startswith(start)]
        rows = [[layer, *(_cell(quantities[name]) for name in names)] for layer, quantities in found.items()]
        yield text_table(["layer", *names], rows) + "\n"


def head_tables(study: "HeadStudy") -> Iterator[str]:
    """Yield a model's heads, and how far clips and speakers agree on their order."""
    from speech_emotion.evaluation import text_table

    yield f"{study.model}: {len(study.ids)} test clips, UA {100 * study.ua:.1f}%"
    rows = [
        [name, _cell(study.mean_importance[:, number]), _cell(100 * study.ua_change[:, number])]
        for number, name in enumerate(study.names)
    ]
    yield text_table(["head", "importance (nats)", "change of UA (points)"], rows)
    header = ["agreement of", "number", "Kendall's W", "W of shuffled heads", "p", "mean Spearman"]
    raters = {"clips": study.clips, "speakers": study.speakers_agreement}
    rows = []
    for name, one in raters.items():
        if one is not None:
            chance, p = "{:.3f} to {:.3f}".format(*one.chance_w), f"{one.permutation_p:.4f}"
            rows.append([name, one.raters, f"{one.kendall_w:.3f}", chance, p, f"{one.mean_spearman:.3f}"])
    yield text_table(header, rows) + "\n"


def pooled_table(pooled: "HeadAgreement") -> str:
    """Lay out what all models with several test speakers give together."""
    from speech_emotion.evaluation import text_table

    header = ["models", "speakers", "lead of the others' first head (nats)", "rank correlation across speakers"]
    return text_table(header, [[pooled.models, pooled.speakers, _cell(pooled.lead), _cell(pooled.correlation)]]) + "\n"


def _cell(values: Sequence[float]) -> str:
    """Estimate and interval, if there is one."""
    value, low, high = (f"{number:.3f}" for number in values)
    return value if low == "nan" else f"{value} ({low} to {high})"
