"""The command lines of the trainings: a parser that is quick to make, and what the words on it give."""

import argparse
import sys
import types
from argparse import SUPPRESS
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

from speech_emotion.terminal import CommandParser

from .arguments import (
    DEFAULT_PRESET,
    CTCDataArguments,
    CTCModelArguments,
    CTCTrainingDefaults,
    DataArguments,
    ModelArguments,
    TrainingDefaults,
    preset_settings,
)

if TYPE_CHECKING:
    from .ctc_task import RecognitionTask
    from .emotion_task import EmotionTask
    from .training_arguments import CTCTrainingArguments, SERTrainingArguments

GROUPS = (DataArguments, ModelArguments, TrainingDefaults)
METAVARS = {int: "N", float: "X", str: "…"}
# Words that say when a training is evaluated, saved and printed.
TIMES = {f"{what}_{how}" for what in ("eval", "save", "logging") for how in ("strategy", "steps")} | {"eval_delay"}
CTC_GROUPS = (CTCDataArguments, CTCModelArguments, CTCTrainingDefaults)


def get_parser(prog: str = "train.py", groups: Sequence[type] = GROUPS) -> CommandParser:
    """Return the parser of a training; what is not given is not in its namespace.

    >>> get_parser().parse_args(["--corpus", "polish", "--use-cpu", "--fold", "2"])
    Namespace(corpus='polish', use_cpu=True, fold=2)
    """
    required = [item.name for kind in groups for item in fields(kind) if _default(item) is MISSING]
    usage = " ".join([prog, *(f"--{name} …" for name in required), "[--OPTION VALUE] …"])
    parser = CommandParser(
        prog=prog,
        usage=usage,
        allow_abbrev=False,
        epilog="Every field of transformers.TrainingArguments can be said, too; --help_all lists them.",
    )
    parser.add_argument("--help_all", action=_HelpOfAll, nargs=0, const=groups, default=SUPPRESS, help=SUPPRESS)
    presets = preset_settings(DEFAULT_PRESET, {}) if ModelArguments in groups else {}
    titled: dict[str, Any] = {}
    for kind in groups:
        hints, title = get_type_hints(kind), ""
        for item in fields(kind):
            title = item.metadata["group"] or title
            if title not in titled:
                titled[title] = parser.add_argument_group(title)
            _add_option(titled[title], item, hints[item.name], presets.get(item.name))
    return parser


def parse_arguments(
    argv: Sequence[str] | None = None, prog: str = "train.py"
) -> "tuple[EmotionTask, SERTrainingArguments]":
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
    given = given_options(argv, GROUPS, prog)
    from .attribute_task import AttributeTask, FinalAttributeTask
    from .emotion_task import EmotionTask
    from .final_task import FinalTask
    from .training_arguments import SERTrainingArguments

    name = given.get("preset", DEFAULT_PRESET)
    settings = {"preset": name} | preset_settings(name, given)
    settings |= ({"metric_for_best_model": "ccc"} if given.get("attributes") else {}) | given
    data, model, training = _divided(settings, DataArguments, ModelArguments, SERTrainingArguments)
    model.given = frozenset(given) & {item.name for item in fields(ModelArguments)}
    chosen = training.load_best_model_at_end or training.early_stopping_patience
    training.sparse = not chosen and not TIMES & set(given)
    kinds = (AttributeTask, FinalAttributeTask) if data.attributes else (EmotionTask, FinalTask)
    return kinds[data.final is not None](data, model), training


def parse_ctc_arguments(
    argv: Sequence[str] | None = None, prog: str = "train_deepspeech.py"
) -> "tuple[RecognitionTask, CTCTrainingArguments]":
    """Parse the command line of a DeepSpeech training.

    >>> task, training = parse_ctc_arguments(["--hidden_size", "256", "--use_cpu", "true"])
    >>> task.data.corpus, task.model.hidden_size, training.metric_for_best_model
    ('speechocean762', 256, 'cer')
    """
    given = given_options(argv, CTC_GROUPS, prog)
    from .ctc_task import RecognitionTask
    from .training_arguments import CTCTrainingArguments

    data, model, training = _divided(given, CTCDataArguments, CTCModelArguments, CTCTrainingArguments)
    return RecognitionTask(data, model, training.half), training


def given_options(argv: Sequence[str] | None, groups: Sequence[type], prog: str = "train.py") -> dict[str, Any]:
    """Return what the words give: fields of the groups, and any of transformers' own.

    >>> given_options(["--hidden_size", "64", "--adam-beta1", "0.8"], [ModelArguments])
    {'hidden_size': 64, 'adam_beta1': 0.8}
    """
    parser = get_parser(prog, groups)
    given, rest = parser.parse_known_args(sys.argv[1:] if argv is None else list(argv))
    return vars(given) | (_given_to_transformers(parser, rest) if rest else {})


def _given_to_transformers(parser: argparse.ArgumentParser, words: list[str]) -> dict[str, Any]:
    from transformers import HfArgumentParser, TrainingArguments

    others = HfArgumentParser((TrainingArguments,), prog=parser.prog, usage=parser.usage, allow_abbrev=False)
    others.set_defaults(**{item.name: MISSING for item in fields(TrainingArguments)})
    given, unknown = others.parse_known_args(words)
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    return {name: value for name, value in vars(given).items() if value is not MISSING}


def _divided(given: Mapping[str, Any], *kinds: type) -> list[Any]:
    """Make each class of what is given to it; a name that two have goes to the first."""
    taken: set[str] = set()
    made = []
    for kind in kinds:
        names = {item.name for item in fields(kind)} - taken
        taken |= names
        made.append(kind(**{name: value for name, value in given.items() if name in names}))
    return made


def _add_option(group: Any, item: Field, hint: Any, preset: Any = None) -> None:
    """Add an option whose help tells its default: that of the preset that is taken where none is named, or its own."""
    optional = get_origin(hint) in (Union, types.UnionType)
    kind = next(one for one in get_args(hint) if one is not types.NoneType) if optional else hint
    default, text = _default(item), item.metadata.get("help", "")
    told = default if preset is None else preset
    if told is not MISSING and told not in (None, []) and "default" not in text:
        words = " ".join(map(str, told)) if isinstance(told, list) else str(told)
        text += f" (default: {words.lower() if isinstance(told, bool) else words})"
    settings: dict[str, Any] = {"help": text.replace("%", "%%"), "default": SUPPRESS, "required": default is MISSING}
    if get_origin(kind) is Literal:
        settings["choices"] = get_args(kind)
    elif kind is bool:
        settings |= {"type": _truth, "nargs": "?", "const": True, "metavar": "true|false"}
    elif get_origin(kind) is list:
        settings |= {"type": get_args(kind)[0], "nargs": "+", "metavar": METAVARS[get_args(kind)[0]]}
    else:
        known = kind if kind in METAVARS else str
        settings |= {"type": known, "metavar": METAVARS[known]}
    group.add_argument(f"--{item.name}", **settings)
    if told is True or default is True:
        spellings = f"--no_{item.name}", f"--no-{item.name.replace('_', '-')}"
        group.add_argument(*spellings, action="store_false", dest=item.name, default=SUPPRESS, help=SUPPRESS)


def _default(item: Field) -> Any:
    return item.default_factory() if item.default_factory is not MISSING else item.default


def _truth(text: str) -> bool:
    for truth, words in ((True, ("yes", "true", "t", "y", "1")), (False, ("no", "false", "f", "n", "0"))):
        if text.lower() in words:
            return truth
    raise argparse.ArgumentTypeError(f"true or false is expected, not {text!r}")


class _HelpOfAll(argparse.Action):
    """Prints the help with every field of `TrainingArguments`."""

    def __call__(self, parser: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> None:
        from transformers import TrainingArguments

        known = {item.name for kind in self.const for item in fields(kind)}
        group = parser.add_argument_group("further fields of transformers.TrainingArguments")
        hints = get_type_hints(TrainingArguments)
        for item in fields(TrainingArguments):
            if item.name not in known:
                _add_option(group, item, hints[item.name])
        parser.epilog = None
        parser.print_help()
        parser.exit()
