"""A saved model and its feature extractor, by this library's own code: no remote code runs."""

from pathlib import Path
from typing import TYPE_CHECKING

from speech_emotion.pretrained.hub_models import check_hub
from speech_emotion.pretrained.shipped_model import EMOTIONS, LICENSE, packaged_model
from speech_emotion.terminal import say

if TYPE_CHECKING:
    from feature_extraction import SERFeatureExtractor
    from modeling_ser import SEREnsembleForAudioClassification, SERForAudioClassification, SERPipeline


def named_model(model: str) -> str:
    """Find the model that comes along by its name, and tell its terms; others are where they are said to be.

    A folder that is not there is refused, before anything heavy is imported.
    """
    if model == EMOTIONS:
        model = str(packaged_model())
        say(f"The model {EMOTIONS!r}: {LICENSE}, no commercial use; what it is worth: {model}/README.md", error=True)
    parts = model.split("/")
    if not Path(model).is_dir() and (model.startswith((".", "/", "~")) or len(parts) != 2):
        raise FileNotFoundError(f"There is no folder {model}, and it is no id on the Hub, which is user/name.")
    return model


def check_emotions(classifier: "SERPipeline", what: str) -> None:
    """Refuse a model of values for what compares emotions."""
    config = classifier.model.config
    if config.problem_type == "regression":
        raise ValueError(f"{what} tells emotions, and this model gives values: {', '.join(config.id2label.values())}.")


def load_saved(
    model: str, revision: str | None = None, token: str | bool | None = None
) -> "tuple[SERForAudioClassification | SEREnsembleForAudioClassification, SERFeatureExtractor]":
    """Load a classifier, or an ensemble of several, with its feature extractor.

    `emotions` is the one that comes along. With the token False nobody's rights are used on the Hub.
    """
    model = named_model(model)
    check_hub(model)  # before what takes seconds to import
    _check_fetched(Path(model))
    import torch

    from feature_extraction import SERFeatureExtractor
    from modeling_ser import SERConfig, SEREnsembleForAudioClassification, SERForAudioClassification

    try:
        several = SERConfig.from_pretrained(model, revision=revision, token=token).num_members > 1
    except OSError as error:
        if Path(model).is_dir():
            raise
        raise FileNotFoundError(f"There is no folder {model}, and as an id on the Hub: {error}") from error
    kind = SEREnsembleForAudioClassification if several else SERForAudioClassification
    network = kind.from_pretrained(model, revision=revision, token=token, dtype=torch.float32)
    extractor = SERFeatureExtractor.from_pretrained(model, revision=revision, token=token)
    read = (network.members[0] if several else network).ser.frame_size
    if extractor.feature_size != read:
        raise ValueError(
            f"{model}: its feature extractor gives {extractor.feature_size} features a frame, and its network reads "
            f"{read}; one of them is of another model."
        )
    return network, extractor


def _check_fetched(folder: Path) -> None:
    """Refuse a folder whose settings are what git puts in a large file's place."""
    from feature_extraction.content_kind import pointer_there

    for path in (folder / "config.json", folder / "preprocessor_config.json"):
        if path.is_file() and (found := pointer_there(path.read_bytes())):
            raise OSError(f"{path} is {found}.")
