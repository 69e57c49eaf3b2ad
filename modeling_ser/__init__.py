"""Features → emotion: the encoder, the attention decoder, ensembles and the pipeline of the paper.

The folder is copied flat to the Hub beside every checkpoint, so its files import only each other and installed
packages.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .configuration_ser import SERConfig
    from .modeling_ser import SERForAudioClassification, SERModel, SERPreTrainedModel
    from .modeling_ser_ensemble import SEREnsembleForAudioClassification
    from .pipeline_ser import SERPipeline

# Read when first asked for: transformers' models and pipelines take seconds to import.
_MODULES = {
    "SERConfig": "configuration_ser",
    "SEREnsembleForAudioClassification": "modeling_ser_ensemble",
    "SERForAudioClassification": "modeling_ser",
    "SERModel": "modeling_ser",
    "SERPipeline": "pipeline_ser",
    "SERPreTrainedModel": "modeling_ser",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    return value


__all__ = [
    "SERConfig",
    "SEREnsembleForAudioClassification",
    "SERForAudioClassification",
    "SERModel",
    "SERPipeline",
    "SERPreTrainedModel",
]
