"""The recognizer's pipeline: files, bytes, arrays of any rate → text, without FFmpeg, torchcodec or torchaudio."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from transformers import Pipeline

from .audio_decoding import is_pair

TIMESTAMPS = ("char", "word")


class DeepSpeechPipeline(Pipeline):
    """Speech in, text out: `pipeline("automatic-speech-recognition", model=…, trust_remote_code=True)`.

    The text is the greedy one: of every frame the best label, repetitions merged, blanks removed. There is no language
    model. A clip gets the same text alone and in any batch.

    Args:
        args: As of `transformers.Pipeline`.
        kwargs: As of `transformers.Pipeline` (`model`, `feature_extractor`, `tokenizer`, `device`, `batch_size`, …);
            and `return_timestamps`, see `__call__`.

    Raises:
        ValueError: If the model is not a DeepSpeech model, or an argument is unknown or out of its range.

    Example:
        >>> from transformers import pipeline
        >>> folder = "deepspeech-0.4.1"
        >>> transcriber = pipeline(
        ...     "automatic-speech-recognition", model=folder, trust_remote_code=True
        ... )  # doctest: +SKIP
        >>> transcriber("speech.wav")  # doctest: +SKIP
        {'text': 'experience proves this'}
    """

    _load_processor = False
    _load_image_processor = False
    _load_feature_extractor = True
    _load_tokenizer = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("feature_extractor", "tokenizer"):
            if getattr(self, name) is None:
                raise ValueError(f"The pipeline needs the {name} that was saved with the model.")
        if self.model.config.model_type != "deepspeech":
            raise ValueError(
                f"DeepSpeechPipeline runs DeepSpeech models, not a {self.model.config.model_type!r} model."
            )

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        """Transcribe one clip, or each of several.

        Args:
            inputs: A path (str or Path), a URL (http or https), the bytes of a file, a file object, a 1-D waveform
                (numpy or torch, taken to be at the extractor's rate), a dictionary with `array` or `raw` and
                `sampling_rate`, a pair of rate and samples, an audio value of `datasets`; or a list, an iterator or a
                column of these.
            kwargs: For this call: `return_timestamps` ("char" or "word": the pieces of the text with their begin and
                end in seconds), `channel` and `max_seconds` as of `load_audio`, `batch_size`, `num_workers`.

        Returns:
            For one clip `{"text": str}`, with timestamps also `{"chunks": [{"text": str, "timestamp": (s, s)}, …]}`;
            for a list or column, a list of those; for an iterator or a streamed column, an iterator over them.

        Raises:
            ValueError: If a clip cannot be used, naming it.
            FileNotFoundError: If a file is missing, naming it.
        """
        if is_pair(inputs):
            inputs = tuple(inputs)
        elif isinstance(inputs, list | tuple):
            return super().__call__(list(inputs), **kwargs) if inputs else []
        kind = type(inputs).__name__ if type(inputs).__module__.startswith("datasets.") else ""
        # A file object iterates too, over its lines.
        if kind in ("Column", "IterableColumn") or (isinstance(inputs, Iterator) and not hasattr(inputs, "read")):
            inputs = (clip for clip in inputs)  # one by one: all encoded clips together may outgrow the memory
        answers = super().__call__(inputs, **kwargs)
        return list(answers) if kind == "Column" else answers

    def _sanitize_parameters(self, **kwargs: Any) -> tuple[dict, dict, dict]:
        unknown = sorted(set(kwargs) - {"return_timestamps", "channel", "max_seconds"})
        if unknown:
            raise ValueError(
                f"DeepSpeechPipeline takes no {', '.join(map(repr, unknown))}; it takes return_timestamps, channel, "
                "max_seconds, batch_size and num_workers."
            )
        timestamps = kwargs.get("return_timestamps")
        if timestamps is not None and timestamps is not False and timestamps not in TIMESTAMPS:
            raise ValueError(f'return_timestamps must be "char", "word" or None, not {timestamps!r}.')
        # Only what was passed is returned, so that what was set at construction holds for calls that do not say.
        reading = {name: kwargs.pop(name) for name in ("channel", "max_seconds") if name in kwargs}
        return reading, {}, kwargs

    def preprocess(self, inputs: Any, **options: Any) -> dict[str, torch.Tensor]:
        """Decode one clip: `input_values` (1, samples), float32 at the extractor's rate, and its mask of ones."""
        samples = torch.from_numpy(self.feature_extractor.load_audio(inputs, **options)).unsqueeze(0)  # (1, samples)
        return {"input_values": samples, "attention_mask": torch.ones_like(samples, dtype=torch.int64)}

    def _forward(self, model_inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        lengths = model_inputs["attention_mask"].sum(dim=1).tolist()
        waveforms = [row[:length] for row, length in zip(model_inputs["input_values"], lengths, strict=True)]
        features = self.feature_extractor.extract(waveforms, device=self.device)
        logits = self.model(**features).logits  # (batch, frames, vocab_size)
        if not bool(logits.isfinite().all()):
            raise FloatingPointError(
                f"The model {self.model.name_or_path or 'of this pipeline'} gives letters scores that are no finite "
                "numbers: its weights are damaged. Fetch it anew."
            )
        labels = logits.argmax(dim=-1)  # (batch, frames)
        # Blanks decode to nothing, so they end a clip well where its batch is longer.
        return {"labels": labels.masked_fill(features["attention_mask"] == 0, self.model.config.pad_token_id)}

    def postprocess(
        self, model_outputs: Mapping[str, torch.Tensor], return_timestamps: str | None = None
    ) -> dict[str, Any]:
        """Turn one clip's best labels, (1, frames), into text, and into `chunks` where timestamps are wanted."""
        labels = model_outputs["labels"][0].tolist()
        if not return_timestamps:
            return {"text": self.tokenizer.decode(labels)}
        kinds = {f"output_{kind}_offsets": kind == return_timestamps for kind in TIMESTAMPS}
        decoded = self.tokenizer.decode(labels, **kinds)
        seconds = self.feature_extractor.hop_length / self.feature_extractor.sampling_rate
        chunks = [
            {
                "text": piece[return_timestamps],
                "timestamp": (piece["start_offset"] * seconds, piece["end_offset"] * seconds),
            }
            for piece in decoded[f"{return_timestamps}_offsets"]
        ]
        return {"text": decoded["text"], "chunks": chunks}
