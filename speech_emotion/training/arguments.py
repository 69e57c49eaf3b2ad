"""What can be said of a training: each argument with its default, its explanation, and what it changes.

Light on purpose: whoever asks for help waits for no torch. `training_arguments` has the classes that Trainer takes.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, Literal

from dataset_scripts import list_corpora
from speech_emotion.pretrained import SHORT_NAMES
from speech_emotion.pretrained.shipped_model import EMOTIONS, packaged_model

# What an argument changes. A run's record tells of the weights' and the features' settings; of the clips its identity
# tells; and what only changes how or where things are done is nobody's business.
Changes = Literal["weights", "features", "clips", "looks"]


def argument(default: Any, help: str, changes: Changes, group: str = "") -> Any:
    """Describe a field; `group` begins another group of the help."""
    metadata = {"help": help, "changes": changes, "group": group}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def told_settings(*groups: object) -> dict[str, Any]:
    """Return the values of the fields that a run's record tells of.

    >>> told_settings(CTCModelArguments(tempo=0.0))["tempo"]
    0.0
    """
    return {
        item.name: getattr(group, item.name)
        for group in groups
        for item in fields(group)
        if item.metadata["changes"] in ("weights", "features")
    }


@dataclass
class DataArguments:
    """Which clips, and who trains, validates and is tested."""

    corpus: str = argument(
        MISSING, f"corpus: {', '.join(list_corpora())}; or user/copy on the Hub", "weights", "clips"
    )
    data_dir: str | None = argument(None, "folder of the corpus (default: its usual place)", "looks")
    config: str | None = argument(None, "configuration of the corpus", "weights")
    speaker_pattern: str | None = argument(None, "pattern of recordings that tells the speaker", "clips")
    label_column: str | None = argument(None, "emotions of any data set user/name, which is no copy then", "clips")
    audio_column: str | None = argument(None, "its sounds (default: the only column of sounds)", "clips")
    speaker_column: str | None = argument(None, "its speakers", "clips")
    split_columns: list[str] | None = argument(  # noqa: RUF009
        None, "its clips that are alike in all of these are never divided (sessions, for example)", "clips"
    )
    cache_dir: str | None = argument(None, "folder for what is built", "looks")
    labels: list[str] | None = argument(None, "emotions to keep (default: all)", "weights")  # noqa: RUF009
    attributes: list[str] | None = argument(  # noqa: RUF009
        None, "learn these columns' numbers in place of emotions: valence, arousal, dominance", "clips"
    )
    scheme: Literal["leave-one-speaker-out", "leave-one-session-out", "k-fold"] = argument(
        "leave-one-speaker-out", "how speakers are divided into folds", "weights"
    )
    num_folds: int | None = argument(None, "number of folds of k-fold", "weights")
    fold: int = argument(0, "the fold to test, from 0", "weights")
    folds_file: str | None = argument(None, "a fold as JSONL, instead of --scheme and --fold", "clips")
    unsafe_split: bool = argument(False, "divide clips whoever speaks: the figures are too good", "clips")
    final: str | None = argument(
        None, "train on all speakers: true, after a run that validates and tests, or that run's folder", "clips"
    )
    streaming: bool = argument(False, "read a copy as a stream", "looks")
    skip_bad: bool = argument(False, "report clips that cannot be used, and go on", "clips")
    max_seconds: float = argument(3600.0, "refuse files that hold more seconds of sound", "clips")

    def __post_init__(self) -> None:
        """Take false, as a word of the command line, for no final model."""
        if (self.final or "").lower() == "false":
            self.final = None
        if self.attributes and self.labels:
            raise ValueError("--labels are emotions to keep, and --attributes are learned in place of emotions.")


@dataclass
class ModelArguments:
    """Features, sizes and loss of the model; `SERConfig` explains the fields."""

    # Names of the arguments that were given on a command line, be it with the default's value; no field.
    given: ClassVar[frozenset[str]] = frozenset()

    streams: list[str] = argument(["mel"], "feature streams: mel, encoder", "features", "features")  # noqa: RUF009
    encoder: str | None = argument(
        None, f"network of the stream encoder: {', '.join(SHORT_NAMES)}, a folder or a Hub id", "features"
    )
    encoder_revision: str | None = argument(None, "its revision on the Hub", "features")
    encoder_layer: list[int] | int | None = argument(  # noqa: RUF009
        None, "its layer, or several to mix; of another one DeepSpeech's 5th, or the last", "features"
    )
    by_speaker: bool = argument(
        False, "normalize each speaker by their own statistics, for a model that is adapted to speakers", "weights"
    )
    train_encoder: str = argument(
        "none", "which of its blocks learn with the model: none, top-N (such as top-2), lora or all", "features"
    )
    encoder_learning_rate: float | None = argument(
        None, "their peak learning rate (default: a hundredth of --learning_rate, a tenth for lora)", "weights"
    )
    lora_rank: int | None = argument(None, "rank of the adapters of lora (default: 8)", "weights")
    fusion: Literal["frame", "late"] = argument("frame", "how streams are fused", "weights", "network and loss")
    model_name_or_path: str | None = argument(None, "a saved model to fine-tune", "weights")
    model_revision: str | None = argument(None, "its revision on the Hub", "weights")
    hidden_size: int = argument(128, "channels of the convolutions", "weights")
    conv_kernel_size: int = argument(5, "frames that one convolution sees", "weights")
    num_attention_heads: int = argument(4, "heads of the self-attention", "weights")
    dense_size: int = argument(64, "units of the first dense layer", "weights")
    dropout: float = argument(0.3, "dropout after the first dense layer", "weights")
    attention_dropout: float = argument(0.1, "dropout of attention weights", "weights")
    label_smoothing: float = argument(0.0, "share of the target spread over all classes", "weights")
    class_weights: Literal["none", "balanced"] = argument("none", "weights in the loss", "weights")
    pooling: Literal["mean", "attention_statistics", "functionals"] = argument("mean", "pooling over time", "weights")
    statistics_head: bool = argument(
        False, "average with a linear classifier of each feature's mean and deviation over the clip", "weights"
    )
    stem_channels: list[int] = argument(  # noqa: RUF009
        [], "channels of convolutions over mel bands before the encoder; 0, the default, for none", "weights"
    )
    encoder_dropout: float = argument(0.0, "dropout of the encoder's output", "weights")
    win_length: int = argument(400, "samples of the window of the log-mel energies", "features", "features")
    dynamic_range: float = argument(0.0, "floor below a clip's loudest energy, in dB; 0: none", "features")
    clip_normalization: Literal["none", "level", "band"] = argument(
        "none", "mean subtracted from a clip's log-mel energies", "features"
    )
    front: Literal["none", "speech"] = argument(
        "none", "speech: cut silence off at a clip's ends, and bring its speech to one level", "features"
    )
    variants: int = argument(
        0, "copies of each training clip with echoes, noise, other bands and coding", "weights", "augmentation"
    )
    tempo: float = argument(0.0, "largest random change of length, as a part", "weights")
    band_warp: float = argument(0.0, "largest random warp of the mel bands, as a part", "weights")
    time_masks: int = argument(0, "SpecAugment: masks over time", "weights")
    time_mask_frames: int = argument(20, "SpecAugment: the most frames of one", "weights")
    band_masks: int = argument(0, "SpecAugment: masks over mel bands", "weights")
    band_mask_size: int = argument(16, "SpecAugment: the most bands of one", "weights")
    preset: Literal["recommended", "paper", "best", "functionals", "layers"] = argument(
        "paper",
        "defaults of all: what we recommend (default: recommended), the paper's, two recipes for mel, one for layers",
        "weights",
        "training",
    )

    def __post_init__(self) -> None:
        """Take a stem of 0 channels for none, as the command line has no other word for it; one layer for a number."""
        if self.stem_channels == [0]:
            self.stem_channels = []
        if self.model_name_or_path == EMOTIONS:
            self.model_name_or_path = str(packaged_model())
        if self.variants < 0:
            raise ValueError(f"variants={self.variants}: give a number of copies of each clip, 0 for none.")
        if isinstance(self.encoder_layer, list) and len(self.encoder_layer) == 1:  # a number, as runs have saved it
            self.encoder_layer = self.encoder_layer[0]


@dataclass
class TrainingDefaults:
    """Settings of transformers' Trainer that have other defaults here, or are often given; and two of our own."""

    num_train_epochs: float = argument(60.0, "epochs at most", "weights", "training")
    max_steps: int = argument(-1, "steps in all, instead of epochs", "weights")
    per_device_train_batch_size: int = argument(16, "clips per process and step", "weights")
    per_device_eval_batch_size: int = argument(32, "clips per process in evaluation", "looks")
    gradient_accumulation_steps: int = argument(1, "passes that make up a step", "weights")
    learning_rate: float = argument(1e-3, "peak learning rate of AdamW", "weights")
    lr_scheduler_type: str = argument("cosine", "schedule of the learning rate", "weights")
    warmup_steps: float = argument(0.05, "steps, or below 1 the share, of warm-up", "weights")
    weight_decay: float = argument(0.01, "weight decay of AdamW", "weights")
    max_grad_norm: float = argument(1.0, "largest norm of the gradient", "weights")
    seed: int = argument(42, "seed of everything random", "weights")
    bf16: bool = argument(False, "train in bfloat16 where that is exact enough", "weights")
    load_best_model_at_end: bool = argument(True, "keep the best epoch", "weights")
    metric_for_best_model: str | None = argument("ua", "what the best epoch is best in", "weights")
    greater_is_better: bool | None = argument(None, "whether more is better (default: unless a loss)", "weights")
    early_stopping_patience: int = argument(20, "evaluations without a better UA; 0 for never", "weights")
    output_dir: str | None = argument("outputs/run", "folder of the run", "looks", "running and sharing")
    overwrite_output_dir: bool = argument(False, "remove an earlier run's checkpoints", "looks")
    resume_from_checkpoint: str | None = argument(None, "true for the last one of --output_dir, or a folder", "looks")
    use_cpu: bool = argument(False, "train on the CPU even if there is a GPU", "looks")
    push_to_hub: bool = argument(False, "share every checkpoint, and the card, on the Hub", "looks")
    hub_model_id: str | None = argument(None, "as which model, you/name", "looks")
    eval_strategy: str = argument(
        "epoch",
        "when to evaluate: epoch or steps (default: each epoch; about 20 of them where the last weights are kept)",
        "weights",
        "rarely changed",
    )
    save_strategy: str = argument("epoch", "when to save: epoch, steps or best", "looks")
    logging_strategy: str = argument("epoch", "when to log: epoch or steps", "looks")
    save_total_limit: int | None = argument(2, "checkpoints to keep", "looks")
    remove_unused_columns: bool = argument(False, "the collator takes what it needs", "looks")
    logging_nan_inf_filter: bool = argument(False, "hide losses that are not finite", "looks")
    restore_callback_states_from_checkpoint: bool = argument(True, "resume the patience, too", "looks")
    ddp_find_unused_parameters: bool | None = argument(False, "every parameter is used", "looks")
    dataloader_pin_memory: bool = argument(False, "pin batches in memory, for GPUs", "looks")


@dataclass
class CTCDataArguments:
    """Which clips, and who trains, validates and is tested."""

    corpus: str = argument("speechocean762", f"corpus: {', '.join(list_corpora())}", "weights", "clips")
    data_dir: str | None = argument(None, "folder of the corpus (default: its usual place)", "looks")
    config: str | None = argument(None, "configuration of the corpus", "weights")
    cache_dir: str | None = argument(None, "folder for what is built", "looks")
    validation_speakers: int = argument(25, "training speakers who choose the epoch instead", "weights")
    folds_file: str | None = argument(None, "a fold as JSONL, instead of official halves", "clips")
    evaluate_test: bool = argument(False, "read the test clips, once, at the end", "looks")
    skip_bad: bool = argument(False, "report clips that cannot be used, and go on", "clips")
    max_seconds: float = argument(3600.0, "refuse files that hold more seconds of sound", "clips")


@dataclass
class CTCModelArguments:
    """Size of the model, and what its training must do without."""

    hidden_size: int = argument(512, "units of every layer but the last", "weights", "network")
    dropout: float = argument(0.1, "dropout after layers 1, 2, 3 and 5", "weights")
    tempo: float = argument(0.1, "largest random change of length, as a part", "weights", "augmentation")
    gain: float = argument(6.0, "largest random change of its level, in dB", "weights")
    time_masks: int = argument(2, "SpecAugment: masks over time", "weights")
    time_mask_frames: int = argument(20, "SpecAugment: the most frames of one", "weights")
    feature_masks: int = argument(1, "SpecAugment: masks over coefficients", "weights")
    feature_mask_size: int = argument(5, "SpecAugment: the most coefficients of one", "weights")


@dataclass
class CTCTrainingDefaults(TrainingDefaults):
    """The defaults of a DeepSpeech training."""

    output_dir: str | None = argument("outputs/deepspeech", "folder of the run", "looks", "running and sharing")
    num_train_epochs: float = argument(100.0, "epochs at most", "weights", "training")
    metric_for_best_model: str | None = argument("cer", "what the best epoch is best in", "weights")
    greater_is_better: bool | None = argument(False, "whether more of it is better", "weights")
    early_stopping_patience: int = argument(0, "evaluations without a better CER; 0 for never", "weights")
    half: bool = argument(False, "save float16 weights and measure those", "weights", "training")


def corpus_places(data: DataArguments | CTCDataArguments) -> dict[str, Any]:
    """Return what `load_corpus` is told of where a corpus lies, and whether its bad files are left out."""
    places: dict[str, Any] = {"data_dir": data.data_dir, "config": data.config, "cache_dir": data.cache_dir}
    # A copy's audio is only looked at when features are made.
    reading = {"skip_bad": True} if data.skip_bad else {}
    reading |= {"max_seconds": data.max_seconds} if data.max_seconds != type(data).max_seconds else {}
    return places | ({} if "/" in data.corpus else reading) | named_columns(data)


def named_columns(data: DataArguments | CTCDataArguments) -> dict[str, Any]:
    """Return the columns that are named of a data set which is no corpus and no copy of one."""
    names = ("label_column", "audio_column", "speaker_column", "split_columns")
    named = {name: getattr(data, name) for name in names if getattr(data, name, None)}
    if named and ("label_column" not in named or "/" not in data.corpus):
        raise ValueError(
            f"--{next(iter(named))} is for a data set of the Hub, or a folder of one: --corpus user/name "
            "--label_column …"
        )
    return named


# What helped on some validation speakers of RAVDESS and did no harm on EmoDB's. The last epoch is kept: one validation
# speaker has too few clips to tell epochs apart, and whichever is luckiest among dozens was no better on a speaker
# held out from the training ones than the last, when the rate has fallen to 0.
RECIPE: Mapping[str, Any] = {
    "stem_channels": [8, 16, 32],
    "hidden_size": 64,
    "attention_dropout": 0.0,
    "encoder_dropout": 0.2,
    "dynamic_range": 60.0,
    "tempo": 0.1,
    "band_warp": 0.1,
    "learning_rate": 2e-3,
    "early_stopping_patience": 0,
    "load_best_model_at_end": False,
}
# For layers of a large encoder side by side: what they tell is there from the start, so a short training is enough.
LAYERS_RECIPE: Mapping[str, Any] = {
    "encoder_dropout": 0.2,
    "max_steps": 600,
    "early_stopping_patience": 0,
    "load_best_model_at_end": False,
}
# What a command line means that names no preset; the classes' own defaults are the paper's.
DEFAULT_PRESET = "recommended"
# By preset, defaults of fields of `ModelArguments` and `TrainingDefaults`; what it does not name has the field's own.
PRESETS: dict[str, Mapping[str, Any]] = {
    # For recordings of one's own: the paper's decoder on layers of a recognizer of 99 languages, trained so that
    # neither level nor silence, coding, band or noise of a recording changes what it says.
    "recommended": {
        "streams": ["encoder"],
        "encoder": "whisper-base",
        "encoder_layer": [2, 3, 4, 5],
        "front": "speech",
        "variants": 3,
        **LAYERS_RECIPE,
        "label_smoothing": 0.1,
        "statistics_head": True,
    },
    # The paper's model, with our choice of what it leaves open: the fields' own defaults.
    "paper": {},
    "best": {**RECIPE, "time_masks": 2, "band_masks": 2, "max_steps": 2500},
    # Pooling by functionals in place of the masks, in fewer steps: better on a few validation speakers, over all folds
    # worse on RAVDESS's, no better on EmoDB's and better on ASED's.
    "functionals": {**RECIPE, "pooling": "functionals", "max_steps": 1500},
    "layers": LAYERS_RECIPE,
}


def preset_settings(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a preset sets, without what would not fit streams, encoder and attributes that are given.

    >>> "encoder" in preset_settings("recommended", {"streams": ["mel"]})
    False
    """
    if name not in PRESETS:
        raise ValueError(f"There is no preset {name!r}; choose one of {', '.join(PRESETS)}.")
    settings = dict(PRESETS[name])
    streams = given.get("streams") or settings.get("streams", ["mel"])
    own_encoder = given.get("encoder") in (None, settings.get("encoder"))
    unfit = {"stem_channels"} if streams[0] != "mel" else set()
    unfit |= {"encoder", "encoder_layer"} if "encoder" not in streams else set()
    unfit |= {"label_smoothing"} if given.get("attributes") else set()  # of classes
    unfit |= {"encoder_layer"} if not own_encoder else set()  # layers are numbered otherwise in another
    return {name: value for name, value in settings.items() if name not in unfit}
