"""What a training measured, and the card that says it; its words are `model_card.md`'s."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import datasets
import numpy as np
import torch
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from feature_extraction import SERFeatureExtractor
from feature_extraction.safe_text import markdown_code, markdown_text, printable
from modeling_ser import SERConfig
from speech_emotion.evaluation import classification_metrics, confusion_counts, confusion_table
from speech_emotion.evaluation.calibration import calibration_metrics
from speech_emotion.pretrained.fetched_weights import ABOUT

from .run_record import corpus_title, library_versions, public_name, stage_changes
from .splits import ClipSplit, Splits
from .task import TrainingResult

TEMPLATE = "model_card.md"
TASK = "audio-classification"
LIBRARY = "modeling-ser"
PICTURE = "confusions.png"  # beside the card, where matplotlib is there to draw it
# Licences as the Hub names them; any other is "other", and the card's text says which.
HUB_LICENSES = {
    "CC BY 4.0": "cc-by-4.0",
    "CC BY-NC-SA 4.0": "cc-by-nc-sa-4.0",
    "CC BY-NC-ND 4.0": "cc-by-nc-nd-4.0",
    "Open Database License 1.0 (ODbL)": "odbl",
}
ENCODER = "A two-layer convolutional encoder with multi-head self-attention"
UNSAFE = "unsafe"  # the scheme of splits that do not look at speakers
# What an extractor subtracts from a clip's energies, in words, by its `clip_normalization`.
SUBTRACTED = {"none": "", "level": ", less the clip's mean", "band": ", less each band's mean over the clip"}


@dataclass(frozen=True)
class TrainingReport:
    """What there is to say of any training, whatever was learned."""

    corpus: str  # its name
    title: str
    homepage: str
    corpus_license: str  # in words; what follows a semicolon is a remark
    citation: str
    language: str | None  # as a BCP 47 tag
    fold: str
    seed: int
    epochs: float  # trained
    parameters: int  # of the model
    arguments: dict[str, object]  # what was asked for
    versions: dict[str, str]  # of the libraries


def common_fields(
    corpus: str, rows: datasets.Dataset, fold: str, result: TrainingResult, settings: dict[str, Any]
) -> dict[str, Any]:
    """Return the fields of a `TrainingReport`."""
    return {
        "corpus": corpus,
        "title": corpus_title(rows),
        "homepage": rows.info.homepage,
        "corpus_license": rows.info.license,
        "citation": rows.info.citation,
        "language": rows[0]["language"],
        "fold": fold,
        "seed": settings["seed"],
        "epochs": result.epochs,
        "parameters": result.parameters,
        "arguments": settings,
        "versions": library_versions(),
    }


@dataclass(frozen=True)
class SplitReport:
    """What one split held and how the model did on it."""

    clips: int  # number of clips
    speakers: list[str]  # names of its speakers
    # `wa`, `ua`, `macro_f1`, `weighted_f1`, each in [0, 1]; of values `ccc`, and `ccc_` and the name of each
    metrics: dict[str, float] = field(default_factory=dict)
    confusion: list[list[int]] = field(default_factory=list)  # clips by true and predicted class, (classes, classes)
    # `ece` and `nll` (in nats), each with `_before` or `_after` the temperature; empty in older reports
    calibration: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class RunReport(TrainingReport):
    """Everything that a card says of a training; written to `results.json` as it is."""

    labels: list[str]
    streams: list[str]
    train: SplitReport
    validation: SplitReport
    test: SplitReport
    architecture: str = ENCODER
    temperature: float = 1.0  # that the logits are divided by, fitted on the validation speakers
    heard_before: dict[str, dict[str, list[str]]] | None = field(default_factory=dict)
    stages: list[dict[str, Any]] = field(default_factory=list)
    kept_epoch: float | None = None  # whose weights these are; `None` in older reports
    kept_step: int | None = None
    learned_shares: bool = False  # of several raters, in place of the label of most of them
    ranges: dict[str, list[float]] | None = None  # of values learned in place of emotions: lowest, highest in training
    validated: "RunReport | None" = None  # of a model trained on all speakers: the run before it, whose figures count

    @property
    def measured(self) -> "RunReport":
        """The report that has figures: this one, or that of the run before a final model's."""
        return self.validated or self

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Read a report back from what `results.json` holds."""
        splits = {name: SplitReport(**fields[name]) for name in ("train", "validation", "test")}
        validated = fields.get("validated")
        return cls(**{**fields, **splits, "validated": validated and cls.from_dict(validated)})


def report_split(
    name: str, clips: ClipSplit, logits: torch.Tensor, labels: list[str], temperature: float = 1.0
) -> tuple[SplitReport, list[dict[str, Any]]]:
    """Measure a split, and list each clip's scores as the pipeline gives them."""
    uncalibrated = logits.double().softmax(dim=-1).numpy()  # (clips, classes)
    probabilities = (logits.double() / temperature).softmax(dim=-1).numpy()  # (clips, classes)
    predicted = uncalibrated.argmax(axis=1)
    report = SplitReport(
        clips=len(clips),
        speakers=speakers_of(clips),
        metrics=classification_metrics(clips.labels, predicted, len(labels)),
        confusion=confusion_counts(clips.labels, predicted, len(labels)).tolist(),
        calibration=calibration_metrics(np.asarray(clips.targets), uncalibrated, temperature),
    )
    columns = (clips.ids, clips.speakers, clips.labels, predicted, probabilities)
    scores = [
        {
            "id": clip,
            "split": name,
            "speaker": speaker,
            "label": labels[label],
            "prediction": labels[guess],
            "scores": dict(zip(labels, row.tolist(), strict=True)),
        }
        for clip, speaker, label, guess, row in zip(*columns, strict=True)
    ]
    return report, scores


def model_card(report: RunReport, repo_id: str, revision: str | None = None) -> ModelCard:
    """Fill the card."""
    tested = "clips" if report.arguments.get("scheme") == UNSAFE else "speakers"
    results = [
        eval_result(report, TASK, f"{report.title}, {split} {tested} of {report.fold}", split, kind, label, value)
        for split, part in (("test", report.test), ("validation", report.validation))
        if part.clips  # nobody is left to test a model that was trained on all
        for kind, label, value in _figures(part.metrics)
    ]
    table = (
        ""
        if report.ranges
        else confusion_table(np.array(report.measured.test.confusion), report.labels, markdown=True)
    )
    return fill_card(
        template_path(),
        report,
        repo_id,
        revision,
        TASK,
        "speech-emotion-recognition",
        results,
        confusion=table,
        picture=PICTURE if _drawable(report) else "",
    )


def _figures(metrics: Mapping[str, float]) -> list[tuple[str, str, float]]:
    """Name what the Hub shows of a split, and of which kind it is."""
    if "ccc" in metrics:
        return [("ccc", " ".join(["CCC", *name.split("_")[1:]]), value) for name, value in metrics.items()]
    names = (("accuracy", "WA", "wa"), ("recall", "UA", "ua"), ("f1", "macro F1", "macro_f1"))
    return [(kind, label, metrics[name]) for kind, label, name in names]


def _drawable(report: RunReport) -> bool:
    return not report.ranges and find_spec("matplotlib") is not None


def draw_confusions(report: RunReport, folder: Path) -> None:
    """Draw what the card shows, if there is something to show, and matplotlib to draw it."""
    if _drawable(report):
        from speech_emotion.evaluation.figures import save_figure
        from speech_emotion.evaluation.figures_runs import confusion_figure

        counts = np.array(report.measured.test.confusion)
        save_figure(confusion_figure(counts, [*map(printable, report.labels)]), folder / PICTURE)


def fill_card(
    template: Path,
    report: TrainingReport,
    repo_id: str,
    revision: str | None,
    task: str,
    tag: str,
    results: Sequence[EvalResult],
    **more: Any,
) -> ModelCard:
    """Fill a card's template with a report."""
    name = repo_id.split("/")[-1]
    base = report.arguments.get("model_name_or_path")  # whose corpora may bind these weights, too
    data = ModelCardData(
        language=report.language,
        license="other" if base else HUB_LICENSES.get(report.corpus_license.split(";")[0], "other"),
        base_model=base if "/" in str(base) else None,
        library_name="transformers",
        pipeline_tag=task,
        tags=[tag, LIBRARY, task],
        model_name=name,
        eval_results=list(results),
    )
    return ModelCard.from_template(
        data,
        template_path=str(template),
        model_name=markdown_text(name),
        repo_id=markdown_code(repo_id),
        revision=revision and markdown_code(revision),
        report=for_markdown(asdict(report)),
        base=base and markdown_code(base),
        encoder_terms=ABOUT.get(str(report.arguments.get("encoder"))),
        ranges=describe_ranges(getattr(report, "ranges", None) or {}),
        stages=for_markdown(stage_changes(getattr(report, "stages", []))),
        **more,
    )


def for_markdown(value: Any) -> Any:
    """Make the text of a report safe that is made of lists and dicts: labels, speakers, transcripts."""
    if isinstance(value, dict):
        return {markdown_text(key): for_markdown(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [for_markdown(one) for one in value]
    return markdown_text(value) if isinstance(value, str) else value


def eval_result(
    report: TrainingReport, task: str, dataset: str, split: str, kind: str, label: str, value: float, **more: Any
) -> EvalResult:
    """Write one figure as the Hub reads it."""
    return EvalResult(
        task_type=task,
        task_name="Speech emotion recognition" if task == TASK else "Speech recognition",
        dataset_type=report.corpus,
        dataset_name=printable(dataset),
        dataset_split=split,
        metric_type=kind,
        metric_name=label,
        metric_value=round(value, 4),
        **more,
    )


def template_path() -> Path:
    """Find the card's template: beside this file in an installed library, at the top of the project in a checkout."""
    for folder in (Path(__file__).parent, Path(__file__).parents[2]):
        if (folder / TEMPLATE).is_file():
            return folder / TEMPLATE
    raise FileNotFoundError(f"The template {TEMPLATE} is missing from the installation.")


# In words, for people ----------------------------------------------------------------------------------------------


def describe_splits(corpus: str, fold: str, labels: list[str], splits: Splits) -> str:
    """Say in words who trains, validates and is tested."""
    labels = [printable(label) for label in labels]
    lines = [f"{printable(corpus)}, {printable(fold)}: {', '.join(labels)}"]
    for name, clips in splits.items():
        counts = np.bincount(clips.labels, minlength=len(labels))
        classes = ", ".join(f"{label} {count}" for label, count in zip(labels, counts, strict=True))
        speakers = ", ".join(map(printable, speakers_of(clips)))
        lines.append(f"  {name:<10} {len(clips):5} clips ({classes}); speakers {speakers}")
    return "\n".join(lines)


def describe_ranges(ranges: Mapping[str, Sequence[float]]) -> str:
    """Say in words which values are learned, and between which the training's lie.

    >>> describe_ranges({"valence": [1.0, 5.0], "arousal": [1.5, 4.5]})
    'valence (1 to 5), arousal (1.5 to 4.5)'
    """
    return ", ".join(f"{name} ({low:g} to {high:g})" for name, (low, high) in ranges.items())


def describe_streams(extractor: SERFeatureExtractor) -> list[str]:
    """Say in words what each stream of an extractor is.

    >>> describe_streams(SERFeatureExtractor())
    ['mel: 128 log-mel bands with Δ and ΔΔ, 40 frames a second of 25 ms']
    >>> print(*describe_streams(SERFeatureExtractor(dynamic_range=60.0, clip_normalization="level")))
    mel: 128 log-mel bands with Δ and ΔΔ, 40 frames ... 25 ms, floor 60 dB below the loudest, less the clip's mean
    """
    rate, length = extractor.sampling_rate / extractor.hop_length, extractor.win_length / extractor.sampling_rate
    mel = f"{extractor.num_mel_bins} log-mel bands with Δ and ΔΔ, {rate:g} frames a second of {1000 * length:g} ms"
    if extractor.dynamic_range is not None:
        mel += f", floor {extractor.dynamic_range:g} dB below the loudest"
    mel += SUBTRACTED[extractor.clip_normalization]
    phrases = {"mel": mel}
    for stream, entry in extractor.encoders.items():
        if "input" in entry:
            phrases[stream] = f"{entry['input']}, which the model's own encoder reads"
            continue
        source = public_name(entry.get("name_or_path")) or "a bundled encoder"
        layers = entry["layer"] if isinstance(entry["layer"], list) else [entry["layer"]]
        phrases[stream] = f"layer{'s' * (len(layers) > 1)} {', '.join(map(str, layers))} of {source}, frozen"
    return [f"{stream}: {phrases[stream]}" for stream in extractor.streams]


def describe_architecture(config: SERConfig) -> str:
    """Say in words what network a configuration makes."""
    several = ", one for each stream" if config.fusion == "late" else ""
    depth = len(config.stem_channels or [])
    stem = f", behind {depth} convolution{'s' * (depth > 1)} over frames × mel bands" if depth else ""
    mix = ", on a learned average of the encoder's layers" if max(config.layer_mix or [1]) > 1 else ""
    pooling = "" if config.pooling == "mean" else f", pooled by {config.pooling.replace('_', ' ')}"
    ear = ""
    if config.encoder_config:
        layers = ", ".join(map(str, config.encoder_layers))
        ear = (
            f", on layer{'s' * (len(config.encoder_layers) > 1)} {layers} of a {config.encoder_config['model_type']} "
        )
        ear += "encoder that was trained with it"
    head = (
        ", averaged with a linear classifier of the features' means and deviations" if config.statistics_head else ""
    )
    return f"{ENCODER}{several}{stem}{mix}{pooling}{ear}{head}"


def place_on_card(folder: Path) -> str:
    """Say where a model lies: as the user named the folder, but for what lies above it on this machine.

    >>> place_on_card(Path("outputs/polish")), place_on_card(Path("/home/anna/polish"))
    ('./outputs/polish', 'path/to/polish')
    """
    outside = folder.is_absolute() or ".." in folder.parts
    return f"path/to/{folder.resolve().name}" if outside else f"./{folder.as_posix()}"


def speakers_of(clips: ClipSplit) -> list[str]:
    """Return the speakers of a split, sorted."""
    return sorted(set(clips.speakers))
