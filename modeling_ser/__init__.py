"""Features → emotion: the encoder, the attention decoder, ensembles and the pipeline of the paper.

The folder is copied flat to the Hub beside every checkpoint, so its files import only each other and installed
packages.
"""

from .configuration_ser import SERConfig
from .modeling_ser import SERForAudioClassification, SERModel, SERPreTrainedModel
from .modeling_ser_ensemble import SEREnsembleForAudioClassification
from .pipeline_ser import SERPipeline

# `save_pretrained` copies the code of classes registered here, so a saved folder needs nothing of ours to load.
SERConfig.register_for_auto_class()
SERModel.register_for_auto_class("AutoModel")
SERForAudioClassification.register_for_auto_class("AutoModelForAudioClassification")
SEREnsembleForAudioClassification.register_for_auto_class("AutoModelForAudioClassification")

__all__ = [
    "SERConfig",
    "SEREnsembleForAudioClassification",
    "SERForAudioClassification",
    "SERModel",
    "SERPipeline",
    "SERPreTrainedModel",
]
