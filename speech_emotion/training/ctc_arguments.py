"""What can be said on the command line of a DeepSpeech training."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from transformers import HfArgumentParser

from dataset_scripts import list_corpora

from .arguments import SERTrainingArguments
from .entry import parse_words


@dataclass
class CTCDataArguments:
    """Which clips, and who trains, validates and is tested."""

    corpus: str = field(default="speechocean762", metadata={"help": f"corpus: {', '.join(list_corpora())}"})
    data_dir: str | None = field(default=None, metadata={"help": "folder of the corpus (default: its usual place)"})
    config: str | None = field(default=None, metadata={"help": "configuration of the corpus"})
    cache_dir: str | None = field(default=None, metadata={"help": "folder for what is built"})
    validation_speakers: int = field(default=25, metadata={"help": "training speakers who choose the epoch instead"})
    folds_file: str | None = field(default=None, metadata={"help": "a fold as JSONL, instead of official halves"})
    evaluate_test: bool = field(default=False, metadata={"help": "read the test clips, once, at the end"})
    skip_bad: bool = field(default=False, metadata={"help": "report clips that cannot be used, and go on"})


@dataclass
class CTCModelArguments:
    """Size of the model, and what its training must do without."""

    hidden_size: int = field(default=512, metadata={"help": "units of every layer but the last"})
    dropout: float = field(default=0.1, metadata={"help": "dropout after layers 1, 2, 3 and 5"})
    tempo: float = field(default=0.1, metadata={"help": "largest random change of a clip's length, as a part"})
    gain: float = field(default=6.0, metadata={"help": "largest random change of its level, in dB"})
    time_masks: int = field(default=2, metadata={"help": "SpecAugment: masks over time"})
    time_mask_frames: int = field(default=20, metadata={"help": "SpecAugment: the most frames of one"})
    feature_masks: int = field(default=1, metadata={"help": "SpecAugment: masks over coefficients"})
    feature_mask_size: int = field(default=5, metadata={"help": "SpecAugment: the most coefficients of one"})


@dataclass
class CTCTrainingArguments(SERTrainingArguments):
    """`transformers.TrainingArguments` with the defaults of a DeepSpeech training."""

    output_dir: str | None = field(default="outputs/deepspeech", metadata={"help": "folder of the run"})
    num_train_epochs: float = field(default=100.0, metadata={"help": "epochs at most"})
    learning_rate: float = field(default=1e-3, metadata={"help": "peak learning rate of AdamW"})
    max_grad_norm: float = field(default=1.0, metadata={"help": "largest norm of the gradient"})
    metric_for_best_model: str | None = field(default="cer", metadata={"help": "what the best epoch is best in"})
    greater_is_better: bool | None = field(default=False, metadata={"help": "whether more of it is better"})
    early_stopping_patience: int = field(default=0, metadata={"help": "evaluations without a better CER; 0 for never"})
    half: bool = field(default=False, metadata={"help": "save float16 weights and measure those"})


def parse_ctc_arguments(
    argv: Sequence[str] | None = None,
) -> tuple[CTCDataArguments, CTCModelArguments, CTCTrainingArguments]:
    """Parse the command line of a DeepSpeech training.

    >>> data, model, training = parse_ctc_arguments(["--hidden_size", "256", "--use_cpu", "true"])
    >>> data.corpus, model.hidden_size, training.metric_for_best_model
    ('speechocean762', 256, 'cer')
    """
    parser = HfArgumentParser((CTCDataArguments, CTCModelArguments, CTCTrainingArguments), prog="train_deepspeech.py")
    return parse_words(parser, None if argv is None else list(argv))


__all__ = ["CTCDataArguments", "CTCModelArguments", "CTCTrainingArguments", "parse_ctc_arguments"]
