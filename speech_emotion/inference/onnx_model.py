"""An exported graph in onnxruntime, behind the same pipeline as a model in torch."""

import json
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from feature_extraction.waveform_extractor import WaveformExtractor
from modeling_ser import SERConfig, SERPipeline
from modeling_ser.pipeline_ser import mean_over_time
from modeling_ser.windows import WindowCutter
from speech_emotion.extras import check_extra

FILE = "model.onnx"


def onnx_pipeline(path: str | Path, **kwargs: Any) -> SERPipeline:
    """Load what `ser export onnx` wrote as a pipeline, whose scores are those of the model's own.

    A recording longer than the graph reads at once, 30 s, is scored window by window, as with `chunk_length_s`, and
    has the mean of its windows' scores over time.

    Args:
        path: The file, or a folder that holds `model.onnx`.
        kwargs: As of `SERPipeline`.

    Returns:
        The pipeline. It computes on the CPU, with as many threads as torch has, and cannot be adapted.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no graph that `ser export onnx` wrote.
        ModuleNotFoundError: onnxruntime is not installed (the extra `onnx`).

    Example:
        >>> onnx_pipeline("model.onnx")("speech.wav", top_k=1)  # doctest: +SKIP
        [{'score': 0.93, 'label': 'anger'}]
    """
    model = OnnxModel(onnx_file(path))
    return OnnxPipeline(model=model, feature_extractor=Waveforms(model.sampling_rate), device="cpu", **kwargs)


def onnx_file(path: str | Path) -> Path:
    """Find the graph, in a folder or not."""
    file = Path(path) / FILE if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise FileNotFoundError(
            f"{path} is neither a graph nor a folder that holds {FILE}; write one: ser export onnx MODEL --output FILE"
        )
    return file


class Waveforms(WaveformExtractor):
    """Gives a graph what it reads: the samples themselves, (batch, samples, 1), and which are real."""

    def __init__(self, sampling_rate: int) -> None:
        super().__init__(sampling_rate, {})

    def compute(self, waveforms: list[torch.Tensor]) -> tuple[torch.Tensor, list[int]]:
        """Pad waveforms to one length."""
        return pad_sequence(waveforms, batch_first=True)[..., None], list(map(len, waveforms))


class OnnxModel(PreTrainedModel):
    """A graph in place of a classifier: waveforms in, logits out."""

    config_class = SERConfig
    main_input_name = "input_features"

    def __init__(self, file: Path) -> None:
        check_extra("onnx", "An ONNX graph", "onnxruntime")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
        try:
            session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's have no base of their own
            raise ValueError(f"{file} is no ONNX graph that can be read, or a damaged one: {error}") from error
        described = session.get_modelmeta().custom_metadata_map
        try:
            config = SERConfig.from_dict(json.loads(described["config"]))
            longest, sampling_rate = int(described["longest"]), int(described["sampling_rate"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{file} is not of `ser export onnx`: what describes it is missing ({error}).") from error
        super().__init__(config)
        self.session, self.longest, self.sampling_rate = session, longest, sampling_rate
        self.name_or_path = str(file)
        self.place = nn.Parameter(torch.zeros(1), requires_grad=False)  # by which transformers tells the device

    def forward(
        self, input_features: torch.Tensor, attention_mask: torch.Tensor, **kwargs: Any
    ) -> SequenceClassifierOutput:
        """Score clips of any length, (batch, samples, 1)."""
        lengths = attention_mask.sum(dim=1)  # (batch,)
        if int(lengths.max()) <= self.longest:
            return SequenceClassifierOutput(logits=self.logits_of(input_features[..., 0].numpy(), lengths.numpy()))
        rows = [self._long(row[:length, 0].numpy()) for row, length in zip(input_features, lengths, strict=True)]
        return SequenceClassifierOutput(logits=torch.stack(rows))

    def logits_of(self, waveforms: np.ndarray, lengths: np.ndarray) -> torch.Tensor:
        """Run the graph on (batch, samples)."""
        (logits,) = self.session.run(["logits"], {"input_values": waveforms, "lengths": lengths})
        return torch.from_numpy(logits)

    def _long(self, waveform: np.ndarray) -> torch.Tensor:
        """Give a clip the logits whose scores are the mean of its windows' over time, (num_labels,)."""
        stride = self.longest // 6
        cutter = WindowCutter(self.longest, stride, stride)
        cut = [*cutter.push(waveform), *cutter.finish()]
        logits = torch.cat([self.logits_of(part[None], np.array([len(part)])) for _, part in cut])
        spans, config = [span for span, _ in cut], self.config
        if config.problem_type == "regression":
            return mean_over_time(logits, spans)
        tempered = (logits / config.temperature).double()
        if config.problem_type == "multi_label_classification":
            mean = mean_over_time(tempered.sigmoid(), spans).logit(eps=1e-15)  # finite for certain labels, too
        else:
            mean = mean_over_time(tempered.softmax(dim=-1), spans).clamp(min=1e-300).log()
        return (mean * config.temperature).float()


class OnnxPipeline(SERPipeline):
    """The pipeline of a graph."""

    def adapt(self, clips: Any, check: bool = True) -> Self:
        """Refuse: what clips would change is fixed in the graph."""
        raise ValueError(
            f"{self.model.name_or_path}: a graph cannot be adapted. Adapt the model that it was made from, save that "
            "(ser predict --adapt all --save-adapted FOLDER), and export it."
        )
