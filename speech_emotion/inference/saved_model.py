"""A saved model and its feature extractor, by this library's own code: no remote code runs."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from feature_extraction import SERFeatureExtractor
    from modeling_ser import SEREnsembleForAudioClassification, SERForAudioClassification


def check_place(model: str) -> None:
    """Refuse, before anything heavy is imported, a folder that is not there."""
    if model.startswith((".", "/", "~")) and not Path(model).is_dir():  # no id on the Hub begins so
        raise FileNotFoundError(f"There is no folder {model}, and it is no id on the Hub.")


def load_saved(
    model: str, revision: str | None = None
) -> "tuple[SERForAudioClassification | SEREnsembleForAudioClassification, SERFeatureExtractor]":
    """Load a classifier, or an ensemble of several, with its feature extractor."""
    import torch

    from feature_extraction import SERFeatureExtractor
    from modeling_ser import SERConfig, SEREnsembleForAudioClassification, SERForAudioClassification

    try:
        several = SERConfig.from_pretrained(model, revision=revision).num_members > 1
    except OSError as error:
        if Path(model).is_dir():
            raise
        raise FileNotFoundError(f"There is no folder {model}, and as an id on the Hub: {error}") from error
    kind = SEREnsembleForAudioClassification if several else SERForAudioClassification
    network = kind.from_pretrained(model, revision=revision, dtype=torch.float32)
    extractor = SERFeatureExtractor.from_pretrained(model, revision=revision)
    read = (network.members[0] if several else network).ser.frame_size
    if extractor.feature_size != read:
        raise ValueError(
            f"{model}: its feature extractor gives {extractor.feature_size} features a frame, and its network reads "
            f"{read}; one of them is of another model."
        )
    return network, extractor
