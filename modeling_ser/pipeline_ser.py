"""The pipeline: files, bytes, arrays of any rate → scores for emotions, without FFmpeg, torchcodec or torchaudio."""

import copy
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from numbers import Real
from typing import Any, Self

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import AudioClassificationPipeline
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.pipelines.base import ChunkPipeline

from .feature_statistics import FeatureStatistics, check_adaptable, shrunk
from .windows import Span, WindowCutter, parts

FUNCTIONS = ("softmax", "sigmoid", "none")
# Samples, at 16 kHz: clips below 3 s are alike, of clips above 30 s a batch takes fewer, and half an hour may wait.
SHORT, LONG, MOST_HELD = 48_000, 480_000, 28_800_000


class SERPipeline(AudioClassificationPipeline):
    """Speech in, scores for emotions out: `pipeline("audio-classification", model=…, trust_remote_code=True)`.

    `preprocess` only decodes, mixes down and resamples. `_forward` runs the feature extractor once for the whole batch
    on the pipeline's device, then the model, so that heavy features are batched too. A clip gets the same scores alone
    and in any batch.

    Args:
        args: As of `transformers.Pipeline`.
        top_k: How many of the best labels to return; `None` for all.
        function_to_apply: `"softmax"` or `"sigmoid"` of the logits divided by `config.temperature`, or `"none"` (the
            logits as the model gives them); `None` takes what `config.problem_type` asks for, softmax by default.
        chunk_length_s: For long recordings: score windows of so many seconds, each as if it were a clip. `None` or 0
            scores every recording as one clip.
        stride_length_s: How much a window shares with its neighbors, in seconds, or a pair for its beginning and its
            end; a sixth of a window by default, as in transformers' speech recognition. A window begins
            `chunk_length_s` less both strides after the one before; the last one is moved back to be as long as the
            others.
        kwargs: As of `transformers.Pipeline` (`model`, `feature_extractor`, `device`, `batch_size`, …).

    Raises:
        ValueError: If the model is not a speech-emotion model, or an argument is unknown or out of its range.

    Example:
        >>> from transformers import pipeline
        >>> classifier = pipeline("audio-classification", model=folder, trust_remote_code=True)  # doctest: +SKIP
        >>> classifier("speech.wav", top_k=1)  # doctest: +SKIP
        [{'score': 0.93, 'label': 'anger'}]
        >>> classifier("meeting.flac", top_k=1, chunk_length_s=4, batch_size=8)  # doctest: +SKIP
        {'scores': [{'score': 0.61, 'label': 'neutral'}],
         'chunks': [{'timestamp': (0.0, 4.0), 'scores': [{'score': 0.73, 'label': 'neutral'}]}, …]}
    """

    def __init__(
        self,
        *args: Any,
        top_k: int | None = None,
        function_to_apply: str | None = None,
        chunk_length_s: float | None = None,
        stride_length_s: float | tuple[float, float] | None = None,
        **kwargs: Any,
    ) -> None:
        own = {"chunk_length_s": chunk_length_s, "stride_length_s": stride_length_s}
        super().__init__(*args, top_k=top_k, function_to_apply=function_to_apply, **own, **kwargs)
        if self.feature_extractor is None:
            raise ValueError("The pipeline needs the feature extractor that was saved with the model.")

    def check_model_type(self, supported_models: Any) -> None:
        """Refuse models of another kind; transformers' own list cannot know a model that lives on the Hub."""
        if self.model.config.model_type != "ser":
            raise ValueError(f"SERPipeline runs speech-emotion models, not a {self.model.config.model_type!r} model.")

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        """Score one clip, or each of several.

        Args:
            inputs: A path (str or Path), a URL (http or https), the bytes of a file, a file object, a 1-D waveform
                (numpy or torch, taken to be at the extractor's rate), a dictionary with `array` or `raw` and
                `sampling_rate`, a pair of rate and samples as Gradio gives it, an audio value of `datasets`; or a
                list, an iterator or a column of these, or paths in a numpy array or pandas series.
            kwargs: For this call: `top_k`, `function_to_apply`, `chunk_length_s`, `stride_length_s`; `batch_size`, of
                clips or windows, and `num_workers`; `channel`, from 0, instead of the average of all; `max_seconds`,
                the most that a file may hold (default: an hour).

        Returns:
            For one clip a list of `{"score": float, "label": str}`, best first; for a list or column, a list of those;
            for an iterator or a streamed column, an iterator over them. A model of values, such as valence, gives them
            in the order of its labels and in the units of `config.value_ranges`.

            With `chunk_length_s` instead of each such list a dictionary: "chunks", of each window its "timestamp",
            (start, end) in seconds, and its "scores", those of the clip cut out there; and "scores", the mean of the
            windows' scores over the time of the recording, in which each window counts for the seconds that are
            nearer to it than to its neighbors: all but its strides. Files are decoded while they are scored, so
            their sound is never whole in memory; `num_workers` has no effect.

        Raises:
            ValueError: If a clip cannot be used, naming it.
            FileNotFoundError: If a file is missing, naming it.
            FloatingPointError: If scores are not finite.
        """
        if isinstance(inputs, list | tuple) and len(inputs) == 2 and any(isinstance(part, Real) for part in inputs):
            return self._one(tuple(inputs), kwargs)  # one sound and its rate
        if isinstance(inputs, list | tuple):
            return super().__call__(list(inputs), **kwargs) if len(inputs) else []
        if is_dataset_column(inputs, "Column"):  # one by one: all encoded clips together may outgrow the memory
            return list(super().__call__((clip for clip in inputs), **kwargs))
        if is_list_of_paths(inputs):
            return self(list(inputs), **kwargs)
        # A file object iterates too, over its lines.
        stream = isinstance(inputs, Iterator) and not hasattr(inputs, "read")
        if stream or is_dataset_column(inputs, "IterableColumn"):
            return super().__call__((clip for clip in inputs), **kwargs)
        return super().__call__(inputs, **kwargs) if isinstance(inputs, Dataset) else self._one(inputs, kwargs)

    def _one(self, clip: Any, kwargs: dict[str, Any]) -> Any:
        """Score one recording; of its windows, too, so many at a time."""
        if kwargs.get("chunk_length_s", self._preprocess_params.get("chunk_length_s")):
            return super().__call__([clip], **kwargs)[0]
        return super().__call__(clip, **kwargs)

    def get_iterator(self, inputs: Any, num_workers: int, batch_size: int, reading: dict, *params: dict) -> Any:
        """Iterate over scores; those of windows as transformers' pipelines do that make several pieces of an input."""
        if not reading.get("chunk_length_s"):
            return super().get_iterator(inputs, num_workers, batch_size, reading, *params)
        return ChunkPipeline.get_iterator(self, inputs, 0, batch_size, reading, *params)

    def adapt(self, clips: Any, check: bool = True) -> Self:
        """Make a pipeline for recordings of one place, or of one speaker, from clips of theirs without labels.

        The model's normalization, the mean and deviation of each feature, is taken from the clips in place of the
        training's, so that what a room, a microphone or a voice adds to all of them alike is removed. Whatever else
        they have in common is removed too: the clips must be of several emotions. The temperature stays as it was
        fitted; on speech unlike the training's the scores are no calibrated probabilities, adapted or not.

        Args:
            clips: Clips, 8 at least, each as for calling the pipeline; a list or any other iterable, read once and in
                batches of the pipeline's `batch_size`; if it has a `chunk_length_s`, each window is a clip. What the
                model is normalized by now counts as 8 further clips.
            check: Whether to refuse clips that seem to be of one emotion, by how little the model's answers to them
                differ. A model that is quite lost in a strange room may take several emotions for one: pass False
                where you know better.

        Returns:
            Another pipeline with the same settings and a copy of the model, whose `config.adapted_clips` is the number
            of clips. `save_pretrained` saves it as it is. It can be adapted again: to a place first and then to a
            speaker is best where both are known.

        Raises:
            AdaptationError: If the clips are too few, or seem to be of one emotion only; a ValueError.
            ValueError: If a clip cannot be used.

        Example:
            >>> mine = classifier.adapt(sorted(Path("my_recordings").rglob("*.wav")))  # doctest: +SKIP
            >>> mine("my_recordings/today.wav", top_k=1)  # doctest: +SKIP
            [{'score': 0.81, 'label': 'anger'}]
        """
        if isinstance(clips, str | bytes | os.PathLike | Mapping) or (
            getattr(clips, "ndim", 0) == 1 and not is_list_of_paths(clips)
        ):
            raise ValueError("adapt takes several clips, in a list or another iterable, not one.")
        bodies = [part for part in self.model.modules() if hasattr(part, "set_normalization")]
        statistics = [FeatureStatistics(len(body.feature_mean)) for body in bodies]
        logits: list[torch.Tensor] = []
        read = (self.preprocess(clip, **self._preprocess_params) for clip in clips)
        waveforms = (part["input_values"][0] for one in read for part in ([one] if isinstance(one, dict) else one))
        for batch in batches_of_like_length(waveforms, self._batch_size or 8):
            with torch.inference_mode():
                features = self.feature_extractor.extract([waveform for _, waveform in batch], device=self.device)
                logits.extend(self.model(**features, return_dict=True).logits.cpu())
                for body, gathered in zip(bodies, statistics, strict=True):
                    for frames in body.clip_frames(**features):
                        gathered.add(frames.cpu().numpy())
        tempered = torch.stack(logits) / self.model.config.temperature if logits else torch.empty(0, 1)
        # Values tell no emotions apart.
        check_adaptable(tempered, several=check and self.model.config.problem_type != "regression")
        adapted = copy.copy(self)
        adapted.model = copy.deepcopy(self.model)
        adapted.model.config.adapted_clips = len(logits)
        copies = [part for part in adapted.model.modules() if hasattr(part, "set_normalization")]
        for body, gathered in zip(copies, statistics, strict=True):
            mean, std = gathered.mean_and_std()
            body.set_normalization(*shrunk(mean, std, body.feature_mean.cpu(), body.feature_std.cpu(), len(logits)))
        return adapted

    def _sanitize_parameters(self, **kwargs: Any) -> tuple[dict, dict, dict]:
        of_reading = ("chunk_length_s", "stride_length_s", "channel", "max_seconds")
        unknown = sorted(set(kwargs) - {"top_k", "function_to_apply", *of_reading})
        if unknown:
            raise ValueError(
                f"SERPipeline takes no {', '.join(map(repr, unknown))}; it takes top_k, function_to_apply, "
                f"{', '.join(of_reading)}, batch_size and num_workers."
            )
        top_k, function = kwargs.get("top_k"), kwargs.get("function_to_apply")
        if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1):
            raise ValueError(f"top_k must be a whole number of at least 1, or None for all labels, not {top_k!r}.")
        if function is not None and function not in FUNCTIONS:
            raise ValueError(f"function_to_apply must be one of {', '.join(FUNCTIONS)}, not {function!r}.")
        # Only what was passed is returned, so that what was set at construction holds for calls that do not say.
        reading = {name: kwargs.pop(name) for name in of_reading if name in kwargs}
        return reading, {}, kwargs

    def preprocess(
        self,
        inputs: Any,
        chunk_length_s: float | None = None,
        stride_length_s: float | tuple[float, float] | None = None,
        **options: Any,
    ) -> dict[str, torch.Tensor] | Iterator[dict[str, Any]]:
        """Decode one clip: `input_values`, (1, samples) at the extractor's rate, and `attention_mask`, all ones.

        With `chunk_length_s` an iterator over windows, each such a dictionary with its `Span` and whether it is last.
        """
        if chunk_length_s:
            cutter = WindowCutter.in_seconds(chunk_length_s, stride_length_s, self.feature_extractor.sampling_rate)
            return _read_windows(cutter, self.feature_extractor.load_audio_blocks(inputs, **options))
        if stride_length_s is not None:
            raise ValueError("stride_length_s says how chunks overlap; pass chunk_length_s, too.")
        return _model_inputs(self.feature_extractor.load_audio(inputs, **options))

    def _forward(self, model_inputs: Mapping[str, Any]) -> SequenceClassifierOutput | dict[str, Any]:
        lengths = model_inputs["attention_mask"].sum(dim=1).tolist()
        waveforms = [row[:length] for row, length in zip(model_inputs["input_values"], lengths, strict=True)]
        features = self.feature_extractor.extract(waveforms, device=self.device)
        # Only what is returned is kept: postprocess reads nothing but the logits.
        logits = self.model(**features, return_dict=True).logits
        if "span" in model_inputs:
            return {"logits": logits, "span": model_inputs["span"], "is_last": model_inputs["is_last"]}
        return SequenceClassifierOutput(logits=logits)

    def postprocess(
        self,
        model_outputs: Mapping[str, torch.Tensor] | list[dict[str, Any]],
        top_k: int | None = None,
        function_to_apply: str | None = None,
    ) -> list[dict[str, Any]] | dict[str, Any]:
        """Turn one clip's logits, (1, num_labels), into `{"score": …, "label": …}` for each label, best first.

        Of a list, of the logits of a recording's windows and their spans, the dictionary that `__call__` tells of.
        """
        if not isinstance(model_outputs, list):
            return self._best(self._scores(model_outputs["logits"], function_to_apply)[0], top_k)
        scores = self._scores(torch.cat([output["logits"] for output in model_outputs]), function_to_apply)
        spans, rate = [Span(*output["span"]) for output in model_outputs], self.feature_extractor.sampling_rate
        return {
            "scores": self._best(mean_over_time(scores, spans), top_k),
            "chunks": [
                {"timestamp": (span.start / rate, span.end / rate), "scores": self._best(row, top_k)}
                for span, row in zip(spans, scores, strict=True)
            ],
        }

    def _scores(self, logits: torch.Tensor, function_to_apply: str | None) -> torch.Tensor:
        """Turn the logits of clips, (clips, num_labels), into scores of the same shape."""
        if function_to_apply is None:
            by_problem = {"regression": "none", "multi_label_classification": "sigmoid"}
            function_to_apply = by_problem.get(self.model.config.problem_type, "softmax")
        logits = logits.float()
        tempered = logits / self.model.config.temperature
        scores = {"softmax": tempered.softmax(-1), "sigmoid": tempered.sigmoid(), "none": logits}[function_to_apply]
        if not bool(torch.stack([logits, tempered, scores]).isfinite().all()):
            raise FloatingPointError(
                f"The model {self.model.name_or_path or 'of this pipeline'} gives a clip scores that are no finite "
                "numbers: its weights or its temperature are damaged. Fetch it anew, or train it again."
            )
        return scores

    def _best(self, scores: torch.Tensor, top_k: int | None) -> list[dict[str, Any]]:
        """Name the best of one clip's scores, (num_labels,), or all values of a regression in their order."""
        names = self.model.config.id2label
        if self.model.config.problem_type == "regression":
            if top_k is not None:
                raise ValueError(
                    f"top_k chooses among emotions; this model gives values: {', '.join(names.values())}."
                )
            return [{"score": value, "label": names[index]} for index, value in enumerate(scores.tolist())]
        best = scores.topk(min(top_k or len(scores), len(scores)))
        return [
            {"score": score, "label": names[index]}
            for score, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]


def mean_over_time(scores: torch.Tensor, spans: Sequence[Span]) -> torch.Tensor:
    """Average the scores of windows, (windows, num_labels), each weighted by the time that it speaks for."""
    seconds = torch.tensor([end - first for first, end in parts(spans)], dtype=torch.float64)  # (windows,)
    return (seconds / seconds.sum() @ scores.double()).to(scores.dtype)  # (num_labels,)


def _model_inputs(waveform: np.ndarray) -> dict[str, Any]:
    samples = torch.from_numpy(waveform).unsqueeze(0)  # (1, samples)
    return {"input_values": samples, "attention_mask": torch.ones_like(samples, dtype=torch.int64)}


def _read_windows(cutter: WindowCutter, blocks: Iterable[np.ndarray]) -> Iterator[dict[str, Any]]:
    """Cut what comes into windows; that a window is the last is known when there is no other."""
    windows = chain(chain.from_iterable(map(cutter.push, blocks)), cutter.finish(), [None])
    for (span, waveform), following in pairwise(windows):
        yield {**_model_inputs(waveform), "span": span, "is_last": following is None}


def batches_of_like_length(waveforms: Iterable[Any], size: int) -> Iterator[list[tuple[int, Any]]]:
    """Give waveforms with their places in batches of a size at most, none of which is padded much; few are held.

    >>> sounds = map(torch.zeros, [100_000, 10_000_000, 90_000])
    >>> [[place for place, _ in batch] for batch in batches_of_like_length(sounds, 8)]
    [[2, 0], [1]]
    """
    numbered, window, held = enumerate(waveforms), [], 0
    while entry := next(numbered, None):
        window.append(entry)
        held += len(entry[1])
        if len(window) >= 8 * size or held > MOST_HELD:
            yield from _like_lengths(window, size)
            window, held = [], 0
    yield from _like_lengths(window, size)


def _like_lengths(window: list[tuple[int, Any]], size: int) -> Iterator[list[tuple[int, Any]]]:
    batch: list[tuple[int, Any]] = []
    for entry in sorted(window, key=lambda entry: len(entry[1])):
        length = len(entry[1])
        if batch and (
            len(batch) == size
            or length > max(SHORT, 1.5 * len(batch[0][1]))
            or length * (len(batch) + 1) > LONG * size
        ):
            yield batch
            batch = []
        batch.append(entry)
    if batch:
        yield batch


def is_dataset_column(inputs: Any, kind: str) -> bool:
    """Tell whether the input is a column of a `datasets` data set: lazy, and neither a list nor an iterator.

    >>> is_dataset_column(["speech.wav"], "Column")
    False
    """
    return type(inputs).__module__.startswith("datasets.") and type(inputs).__name__ == kind


def is_list_of_paths(inputs: Any) -> bool:
    """Tell whether the input is an array or a series of objects or text, and so of several clips.

    >>> import numpy as np
    >>> is_list_of_paths(np.array(["a.wav", "b.wav"])), is_list_of_paths(np.zeros(16000))
    (True, False)
    """
    kind = getattr(getattr(inputs, "dtype", None), "kind", None)  # torch's types have none
    return kind in ("O", "U", "S", "T") and getattr(inputs, "ndim", 0) == 1
