"""Speech as it comes in: chunks of a waveform, of any size, through DeepSpeech."""

import numpy as np
import torch

from .audio_decoding import to_float
from .feature_extraction_deepspeech import DeepSpeechFeatureExtractor
from .modeling_deepspeech import DeepSpeechModel, DeepSpeechState


class DeepSpeechStream:
    """One utterance that arrives in chunks; all outputs together are those of the whole utterance at once.

    A frame's output comes when its right context is there: `context_size` frames later, 0.18 s.

    Args:
        model: The network, in evaluation mode.
        feature_extractor: The extractor whose coefficients it was trained on.
        last_layer: Number of the layer whose outputs are wanted, 1 to 6; 6 gives the logits.

    Raises:
        ValueError: If the model is in training mode.

    Example:
        >>> from feature_extraction import DeepSpeechConfig
        >>> model = DeepSpeechModel(DeepSpeechConfig(hidden_size=16)).eval()
        >>> stream = DeepSpeechStream(model, DeepSpeechFeatureExtractor(), last_layer=5)
        >>> [len(stream.feed(np.zeros(4000, np.float32))) for _ in range(3)], len(stream.finish())
        ([2, 13, 12], 10)
    """

    def __init__(
        self, model: DeepSpeechModel, feature_extractor: DeepSpeechFeatureExtractor, last_layer: int = 6
    ) -> None:
        if model.training:
            raise ValueError("The model is in training mode, where dropout changes outputs; call model.eval() first.")
        self.model = model
        self.front_end = feature_extractor.front_end
        self.last_layer = last_layer
        self._fewest = feature_extractor.fewest_samples
        # Waveforms are summed in float64, which Apple's GPUs do not know.
        self._device = torch.device("cpu") if model.device.type == "mps" else model.device
        self._tape = torch.zeros(0, dtype=torch.float64, device=self._device)  # from the next frame's start on
        self._previous: torch.Tensor | None = None
        self._samples = self._frames = 0
        self._state: DeepSpeechState | None = None
        self._finished = False

    def feed(self, samples: np.ndarray | torch.Tensor) -> torch.Tensor:
        """Take the next samples.

        Args:
            samples: (samples,), in [-1, 1), any number of them, at the extractor's rate; integers are scaled.

        Returns:
            Outputs of the frames that are complete now, (frames, size), perhaps none.

        Raises:
            ValueError: If the samples are not one channel, or not finite, or the utterance is finished.
        """
        self._check_open()
        samples = torch.from_numpy(np.array(to_float(samples, "the chunk"))).to(self._device)
        if samples.dim() != 1 or not bool(samples.isfinite().all()):
            raise ValueError(f"A chunk must be finite samples of one channel, (samples,); got {tuple(samples.shape)}.")
        self._record(samples)
        missing = len(self._tape) - self.front_end.win_length
        return self._run(max(0, missing // self.front_end.hop_length + 1), final=False)

    def finish(self) -> torch.Tensor:
        """End the utterance, and return the outputs of its remaining frames, (frames, size).

        Raises:
            ValueError: If it is finished already, or no sample was fed.
        """
        self._check_open()
        if self._samples == 0:
            raise ValueError("No sample was fed; an utterance holds at least one.")
        if self._samples < self._fewest:
            self._record(torch.zeros(self._fewest - self._samples, device=self._device))
        self._finished = True
        return self._run(self.front_end.num_frames(self._samples) - self._frames, final=True)

    def _check_open(self) -> None:
        if self._finished:
            raise ValueError("This utterance is finished; make a new DeepSpeechStream for the next.")

    def _record(self, samples: torch.Tensor) -> None:
        if len(samples):
            self._tape = torch.cat((self._tape, self.front_end.tape(samples, self._previous)))
            self._previous = samples[-1:]
            self._samples += len(samples)

    @torch.no_grad()
    def _run(self, frames: int, final: bool) -> torch.Tensor:
        features = self.front_end.coefficients(self._tape, frames).float()  # (frames, coefficients)
        self._tape = self._tape[frames * self.front_end.hop_length :]
        self._frames += frames
        output = self.model(
            features[None].to(self.model.device),
            state=self._state,
            final=final,
            last_layer=self.last_layer,
            return_state=True,
            return_dict=True,
        )
        self._state = output.state
        return output.last_hidden_state[0]
