"""What is done to every training batch, as the arguments of a training say."""

import torch

from feature_extraction import SERFeatureExtractor
from modeling_ser import SERForAudioClassification

from .arguments import ModelArguments
from .augmentation_masking import SpecAugment
from .augmentation_stretching import Stretching
from .reproducible_trainer import Augmentation


def make_augmentations(
    args: ModelArguments, extractor: SERFeatureExtractor, network: SERForAudioClassification
) -> list[Augmentation]:
    """Make what changes training batches by chance; nothing by default.

    >>> from modeling_ser import SERConfig
    >>> args = ModelArguments(tempo=0.1, time_masks=2)
    >>> steps = make_augmentations(args, SERFeatureExtractor(), SERForAudioClassification(SERConfig()))
    >>> [type(step).__name__ for step in steps]
    ['Stretching', 'SpecAugment']
    """
    bands = mel_bands(extractor)
    has_mel = bool((bands >= 0).any())
    num_mel_bins = extractor.num_mel_bins if has_mel else 0
    mel_start = int((bands >= 0).long().argmax())
    stretching = Stretching(args.tempo, args.band_warp, num_mel_bins, mel_start)
    masking = SpecAugment(
        network.ser.feature_mean.clone(),
        time_masks=args.time_masks,
        time_mask_frames=args.time_mask_frames,
        feature_masks=args.band_masks if has_mel else 0,
        feature_mask_size=args.band_mask_size,
        bands=bands,
    )
    steps: list[Augmentation] = []
    if args.tempo or args.band_warp:
        steps.append(stretching)
    if args.time_masks or args.band_masks:
        steps.append(masking)
    return steps


def mel_bands(extractor: SERFeatureExtractor) -> torch.Tensor:
    """Return the mel band of each feature of a frame.

    >>> mel_bands(SERFeatureExtractor(num_mel_bins=2)).tolist()
    [0, 1, 0, 1, 0, 1]
    """
    return torch.cat(
        [
            torch.arange(extractor.num_mel_bins).repeat(3) if stream == "mel" else torch.full((size,), -1)
            for stream, size in zip(extractor.streams, extractor.stream_sizes, strict=True)
        ]
    )


__all__ = ["make_augmentations", "mel_bands"]
