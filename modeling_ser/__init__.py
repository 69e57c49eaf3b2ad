"""Features → emotion: the encoder, the attention decoder, ensembles and the pipeline of the paper.

The folder is copied flat to the Hub beside every checkpoint, so its files import only each other and installed
packages. A class is loaded when it is first asked for: transformers' models and pipelines take seconds.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .configuration_ser import SERConfig
    from .modeling_ser import SERForAudioClassification, SERModel, SERPreTrainedModel
    from .modeling_ser_ensemble import SEREnsembleForAudioClassification
    from .pipeline_ser import SERPipeline

__all__ = [
    "SERConfig",
    "SEREnsembleForAudioClassification",
    "SERForAudioClassification",
    "SERModel",
    "SERPipeline",
    "SERPreTrainedModel",
]

FILES = {"SERConfig": "configuration_ser", "SERPipeline": "pipeline_ser"}
FILES |= {"SEREnsembleForAudioClassification": "modeling_ser_ensemble"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{FILES.get(name, 'modeling_ser')}", __name__), name)
    globals()[name] = value  # asked for once
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
