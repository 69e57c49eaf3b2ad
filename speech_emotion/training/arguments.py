"""What can be said on the command line of a training."""

from argparse import SUPPRESS
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from transformers import HfArgumentParser, TrainingArguments

from dataset_scripts import list_corpora
from modeling_ser import SERConfig

from .entry import parse_words
from .presets import preset_settings

if TYPE_CHECKING:
    from .emotion_task import EmotionTask


@dataclass
class DataArguments:
    """Which clips, and who trains, validates and is tested."""

    corpus: str = field(metadata={"help": f"corpus: {', '.join(list_corpora())}; or user/copy on the Hub"})
    data_dir: str | None = field(default=None, metadata={"help": "folder of the corpus (default: its usual place)"})
    config: str | None = field(default=None, metadata={"help": "configuration of the corpus"})
    speaker_pattern: str | None = field(
        default=None, metadata={"help": "pattern of recordings that tells the speaker"}
    )
    cache_dir: str | None = field(default=None, metadata={"help": "folder for what is built"})
    labels: list[str] | None = field(default=None, metadata={"help": "emotions to keep (default: all)"})
    scheme: Literal["leave-one-speaker-out", "leave-one-session-out", "k-fold"] = field(
        default="leave-one-speaker-out", metadata={"help": "how speakers are divided into folds"}
    )
    num_folds: int | None = field(default=None, metadata={"help": "number of folds of k-fold"})
    fold: int = field(default=0, metadata={"help": "the fold to test, from 0"})
    folds_file: str | None = field(default=None, metadata={"help": "a fold as JSONL, instead of --scheme and --fold"})
    streaming: bool = field(default=False, metadata={"help": "read a copy as a stream"})
    skip_bad: bool = field(default=False, metadata={"help": "report clips that cannot be used, and go on"})


@dataclass
class ModelArguments:
    """Features, sizes and loss of the model; `SERConfig` explains the fields."""

    # Names of the arguments that were given on a command line, be it with the default's value; no field.
    given: ClassVar[frozenset[str]] = frozenset()

    streams: list[str] = field(default_factory=lambda: ["mel"], metadata={"help": "feature streams"})
    encoder: str | None = field(
        default=None, metadata={"help": "folder or Hub id of a stream's encoder (default: a small DeepSpeech)"}
    )
    encoder_revision: str | None = field(default=None, metadata={"help": "its revision on the Hub"})
    encoder_layer: int | None = field(default=None, metadata={"help": "which of its layers"})
    fusion: Literal["frame", "late"] = field(default="frame", metadata={"help": "how streams are fused"})
    model_name_or_path: str | None = field(default=None, metadata={"help": "a saved model to fine-tune"})
    model_revision: str | None = field(default=None, metadata={"help": "its revision on the Hub"})
    hidden_size: int = field(default=128, metadata={"help": "channels of the convolutions"})
    conv_kernel_size: int = field(default=5, metadata={"help": "frames that one convolution sees"})
    num_attention_heads: int = field(default=4, metadata={"help": "heads of the self-attention"})
    dense_size: int = field(default=64, metadata={"help": "units of the first dense layer"})
    dropout: float = field(default=0.3, metadata={"help": "dropout after the first dense layer"})
    attention_dropout: float = field(default=0.1, metadata={"help": "dropout of attention weights"})
    label_smoothing: float = field(default=0.0, metadata={"help": "share of the target spread over all classes"})
    class_weights: Literal["none", "balanced"] = field(default="none", metadata={"help": "weights in the loss"})
    pooling: Literal["mean", "attention_statistics", "functionals"] = field(
        default="mean", metadata={"help": "pooling over time"}
    )
    stem_channels: list[int] = field(
        default_factory=list,
        metadata={"help": "channels of convolutions over mel bands before the encoder; 0, the default, for none"},
    )
    encoder_dropout: float = field(default=0.0, metadata={"help": "dropout of the encoder's output"})
    win_length: int = field(default=400, metadata={"help": "samples of the window of the log-mel energies"})
    dynamic_range: float = field(default=0.0, metadata={"help": "floor below a clip's loudest energy, in dB; 0: none"})
    clip_normalization: Literal["none", "level", "band"] = field(
        default="none", metadata={"help": "mean subtracted from a clip's log-mel energies"}
    )
    tempo: float = field(default=0.0, metadata={"help": "largest random change of a clip's length, as a part"})
    band_warp: float = field(default=0.0, metadata={"help": "largest random warp of the mel bands, as a part"})
    time_masks: int = field(default=0, metadata={"help": "SpecAugment: masks over time"})
    time_mask_frames: int = field(default=20, metadata={"help": "SpecAugment: the most frames of one"})
    band_masks: int = field(default=0, metadata={"help": "SpecAugment: masks over mel bands"})
    band_mask_size: int = field(default=16, metadata={"help": "SpecAugment: the most bands of one"})
    preset: Literal["paper", "best", "functionals"] = field(
        default="paper",
        metadata={"help": "defaults of all arguments: the paper's model, the best recipe so far, or a second one"},
    )

    def __post_init__(self) -> None:
        """Take a stem of 0 channels for none, as the command line has no other word for it."""
        if self.stem_channels == [0]:
            self.stem_channels = []


@dataclass
class SERTrainingArguments(TrainingArguments):
    """`transformers.TrainingArguments` with this project's defaults."""

    output_dir: str | None = field(default="outputs/run", metadata={"help": "folder of the run"})
    num_train_epochs: float = field(default=60.0, metadata={"help": "epochs at most"})
    per_device_train_batch_size: int = field(default=16, metadata={"help": "clips per process and step"})
    per_device_eval_batch_size: int = field(default=32, metadata={"help": "clips per process in evaluation"})
    learning_rate: float = field(default=1e-3, metadata={"help": "peak learning rate of AdamW"})
    lr_scheduler_type: str = field(default="cosine", metadata={"help": "schedule of the learning rate"})
    warmup_steps: float = field(default=0.05, metadata={"help": "steps, or below 1 the share, of warm-up"})
    weight_decay: float = field(default=0.01, metadata={"help": "weight decay of AdamW"})
    eval_strategy: str = field(default="epoch", metadata={"help": "when to evaluate: epoch or steps"})
    save_strategy: str = field(default="epoch", metadata={"help": "when to save: epoch, steps or best"})
    logging_strategy: str = field(default="epoch", metadata={"help": "when to log: epoch or steps"})
    save_total_limit: int | None = field(default=2, metadata={"help": "checkpoints to keep"})
    load_best_model_at_end: bool = field(default=True, metadata={"help": "keep the best epoch"})
    metric_for_best_model: str | None = field(default="ua", metadata={"help": "what the best epoch is best in"})
    greater_is_better: bool | None = field(
        default=None, metadata={"help": "whether more of it is better (default: unless it is a loss)"}
    )
    remove_unused_columns: bool = field(default=False, metadata={"help": "the collator takes what it needs"})
    logging_nan_inf_filter: bool = field(default=False, metadata={"help": "hide losses that are not finite"})
    restore_callback_states_from_checkpoint: bool = field(
        default=True, metadata={"help": "resume the patience of early stopping too"}
    )
    ddp_find_unused_parameters: bool | None = field(default=False, metadata={"help": "every parameter is used"})
    dataloader_pin_memory: bool = field(default=False, metadata={"help": "pin batches in memory, for GPUs"})
    early_stopping_patience: int = field(default=20, metadata={"help": "evaluations without a better UA; 0 for never"})
    overwrite_output_dir: bool = field(default=False, metadata={"help": "remove an earlier run's checkpoints"})

    def __post_init__(self) -> None:
        """Check what this class adds, and let transformers check the rest."""
        if self.early_stopping_patience < 0:
            raise ValueError(f"early_stopping_patience must be 0 or more, not {self.early_stopping_patience}.")
        if isinstance(self.resume_from_checkpoint, str) and self.resume_from_checkpoint.lower() in ("true", "false"):
            self.resume_from_checkpoint = self.resume_from_checkpoint.lower() == "true"
        super().__post_init__()


def parse_arguments(
    argv: Sequence[str] | None = None, prog: str = "train.py"
) -> tuple["EmotionTask", SERTrainingArguments]:
    """Parse the command line of a training.

    Args:
        argv: The words after the program's name; `None` for those of this process.
        prog: Name of the program.

    Returns:
        The task and the arguments of its training, for `run_training`. What is not given has the value that the
        preset says, or else its default.

    Raises:
        SystemExit: If a word is unknown or a value is missing, after a message on the standard error.

    Example:
        >>> task, training = parse_arguments(["--corpus", "polish", "--fold", "2", "--use_cpu", "true"])
        >>> task.data.fold, training.per_device_train_batch_size
        (2, 16)
    """
    from .emotion_task import EmotionTask

    words = None if argv is None else list(argv)
    parser = HfArgumentParser((DataArguments, ModelArguments, SERTrainingArguments), prog=prog)
    # The preset's settings become the defaults of a second parse, so whatever is given explicitly wins.
    first = parser.parse_known_args(words)[0]
    parser.set_defaults(**preset_settings(first.preset, first.streams))
    data, model, training = parse_words(parser, words)
    model.given = _given(words)
    return EmotionTask(data, model), training


def _given(words: Sequence[str] | None) -> frozenset[str]:
    """Names of the model's arguments that the words give."""
    parser = HfArgumentParser((ModelArguments,), argument_default=SUPPRESS, allow_abbrev=False)
    for action in parser._actions:
        action.default = SUPPRESS
    return frozenset(vars(parser.parse_known_args(words)[0]))


def model_sizes(args: ModelArguments) -> dict[str, Any]:
    """Pick the fields that are fields of `SERConfig` by the same name."""
    shared = {item.name for item in fields(args)} & set(SERConfig.own_fields())
    sizes = {name: getattr(args, name) for name in sorted(shared - {"class_weights"})}
    return sizes | {"stem_channels": args.stem_channels or None}


__all__ = ["DataArguments", "ModelArguments", "SERTrainingArguments", "model_sizes", "parse_arguments"]
