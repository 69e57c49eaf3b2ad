"""What the feature extractor computes, written for a graph: over a padded batch of waveforms and their lengths.

The extractor goes clip by clip, and takes Fourier transforms by a library. Here every clip of a batch takes the same
steps, in which nothing beyond its end has an effect, and a transform is a product with cosines and sines, in float64,
so that it is no less exact. Tests compare the two.
"""

import copy

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from feature_extraction import SERFeatureExtractor
from feature_extraction import speech_front as front
from feature_extraction.encoder_inputs import HOP_LENGTH, EncoderInput
from feature_extraction.encoder_layers import encoder_states
from feature_extraction.extractor_settings import DTYPES, MEL
from feature_extraction.frontend_deepspeech import FLOORS, INT16_SCALE, PRE_EMPHASIS, FrontEnd, SpeechFeaturesMFCC
from feature_extraction.frozen_encoder import SpeechEncoder
from feature_extraction.mel_deltas import DELTA_REACH, POWER_FLOOR, _mel_weights
from feature_extraction.speech_encoders import DeepSpeechEncoder
from feature_extraction.whisper_encoder import WhisperClipEncoder, WhisperEncoder
from feature_extraction.whisper_log_mel import DYNAMIC_RANGE, FAINTEST

MOST_SECONDS = 30  # that a graph scores as one clip, as Whisper does
LEAST = 4000  # samples that a batch is filled up to: torch.export knows no batches of a single frame
N_FFT = 400  # of Whisper's log-mel energies
Frames = tuple[torch.Tensor, torch.Tensor]  # (batch, frames, size), and how many are each clip's own, (batch,)


class SpeechPart(nn.Module):
    """`speech_part` of each clip of a batch."""

    def forward(self, waveforms: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Move what is kept of each clip to its beginning; the batch, (batch, samples), stays as long as it was."""
        samples, block = waveforms.shape[1], front.BLOCK
        first, last = first_and_last(waveforms != 0)
        count = last - first + 1  # (batch,)
        clip = moved(waveforms, first, count)  # (batch, samples)
        clip = clip / clip.abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(clip.dtype).smallest_normal)
        blocks = (samples + block - 1) // block
        energies = cut_frames(F.pad(clip, (0, block)), blocks, block, block).square().mean(dim=2)  # (batch, blocks)
        own = within(blocks, (count + block - 1) // block)
        smoothed = run_sums(energies, front.SMOOTHED, front.SMOOTHED // 2) / front.SMOOTHED
        averages, real = averages_of_runs(energies, torch.zeros_like(count), (count + block - 1) // block)
        loudest = averages.masked_fill(~real, 0).amax(dim=1, keepdim=True)  # (batch, 1)
        begin, last = first_and_last(own & (smoothed > loudest * ratio(-front.EMPTY_DB)))
        averages, real = averages_of_runs(energies, begin, last + 1)
        quietest = averages.masked_fill(~real, torch.inf).amin(dim=1, keepdim=True)
        floor = (quietest * ratio(front.ABOVE_FLOOR_DB)).minimum(loudest * ratio(-front.MOST_DB))
        begin, last = first_and_last(own & (smoothed > floor.maximum(loudest * ratio(-front.SILENCE_DB))))
        loud = own & (smoothed > loudest * ratio(-front.LOUD_DB))
        level = ((energies * loud).sum(dim=1, keepdim=True) / loud.sum(dim=1, keepdim=True).clamp(min=1)).sqrt()
        kept = ((last + 1) * block).minimum(count) - begin * block
        speech = moved(clip, begin * block, kept) * (front.LEVEL / level.clamp(min=1e-30))
        sounds = count > 0  # digital silence stays as it is: zeros
        return speech.masked_fill(~sounds[:, None], 0), torch.where(sounds, kept, lengths)


class MelDeltas(nn.Module):
    """The stream "mel", as `log_mel_deltas` computes it."""

    shortest = 0

    def __init__(self, extractor: SERFeatureExtractor) -> None:
        super().__init__()
        self.extractor, self.grid = extractor, (extractor.hop_length, 0.0)
        transform, filters = _mel_weights(
            extractor.sampling_rate, extractor.n_fft, extractor.win_length, extractor.num_mel_bins
        )
        window = torch.hann_window(extractor.win_length, periodic=True, dtype=torch.float64).numpy()
        self.register_buffer("basis", fourier_basis(window, transform))
        self.register_buffer("filters", torch.from_numpy(filters))
        k = torch.arange(-DELTA_REACH, DELTA_REACH + 1, dtype=torch.float64)
        self.register_buffer("slopes", torch.stack([k / 60, (3 * k**2 - 20) / 462])[:, None].float())  # (2, 1, 9)

    def forward(self, waveforms: torch.Tensor, lengths: torch.Tensor) -> Frames:
        """Compute log-mel energies and their two derivatives side by side."""
        settings, reach = self.extractor, DELTA_REACH
        hop, length, bins = settings.hop_length, settings.win_length, settings.num_mel_bins
        count, frames = 1 + lengths // hop, 1 + waveforms.shape[1] // hop
        lead = settings.n_fft // 2 - (settings.n_fft - length) // 2
        cut = cut_frames(F.pad(waveforms, (lead, length + hop)), frames, length, hop)
        energies = ((powers(cut, self.basis) @ self.filters).clamp(min=POWER_FLOOR).log10() * 10).float()
        own = within(frames, count)[..., None]  # (batch, frames, 1)
        if settings.dynamic_range is not None:
            loudest = energies.masked_fill(~own, -torch.inf).amax(dim=(1, 2), keepdim=True)
            energies = energies.maximum(loudest - settings.dynamic_range)
        if settings.clip_normalization != "none":
            mean = (energies * own).sum(dim=1, keepdim=True) / count[:, None, None]  # (batch, 1, bins)
            energies = energies - (mean.mean(dim=2, keepdim=True) if settings.clip_normalization == "level" else mean)
        # The derivatives are taken at the clip's own ends, beyond which its first and last frames go on.
        last = energies.gather(1, (count - 1)[:, None, None].expand(-1, 1, bins))  # (batch, 1, bins)
        filled = torch.where(own, energies, last)
        extended = torch.cat([filled[:, :1].expand(-1, reach, -1), filled, last.expand(-1, reach, -1)], dim=1)
        rows = extended.transpose(1, 2).reshape(-1, 1, frames + 2 * reach)
        derived = F.conv1d(rows, self.slopes).reshape(-1, bins, 2, frames)
        derived = derived.permute(0, 3, 2, 1).reshape(-1, frames, 2 * bins)
        return torch.cat([filled, derived], dim=2), count


class WhisperLogMel(nn.Module):
    """Whisper's log-mel energies of each clip by itself, as `whisper_log_mel` computes them."""

    shortest, grid = N_FFT, (HOP_LENGTH, 0.0)

    def __init__(self, mel_filters: np.ndarray, longest: int) -> None:
        super().__init__()
        self.longest = longest
        window = torch.hann_window(N_FFT, dtype=torch.float64).numpy()
        self.register_buffer("basis", fourier_basis(window, N_FFT))
        self.register_buffer("filters", torch.from_numpy(np.asarray(mel_filters, np.float64)))

    def forward(self, waveforms: torch.Tensor, lengths: torch.Tensor) -> Frames:
        """Compute energies, (batch, frames, bins)."""
        lengths, frames = lengths.clamp(min=N_FFT), waveforms.shape[1] // HOP_LENGTH
        # At both ends of the clip the sound is mirrored.
        place = (torch.arange(frames * HOP_LENGTH + N_FFT) - N_FFT // 2).abs()
        last = lengths[:, None] - 1
        place = torch.where(place > last, 2 * last - place, place).clamp(min=0)  # (batch, samples)
        cut = cut_frames(waveforms.gather(1, place), frames, N_FFT, HOP_LENGTH)
        energies = (powers(cut, self.basis) @ self.filters).clamp(min=FAINTEST).log10().float()
        count = lengths // HOP_LENGTH
        own = within(frames, count)[..., None]  # (batch, frames, 1)
        loudest = energies.masked_fill(~own, -torch.inf).amax(dim=(1, 2), keepdim=True)
        return ((energies.maximum(loudest - DYNAMIC_RANGE) + 4) / 4).masked_fill(~own, 0), count


class WhisperStates(nn.Module):
    """Layers of Whisper's encoder, at the clip's own length or within its 30 s."""

    def __init__(self, encoder: WhisperEncoder) -> None:
        super().__init__()
        self.log_mel, self.network = WhisperLogMel(encoder.extractor.mel_filters, encoder.most), encoder.model
        self.taken, self.longest, self.grid, self.shortest = encoder.taken, encoder.most, encoder.grid, N_FFT
        self.own_length = isinstance(encoder, WhisperClipEncoder)

    def forward(self, waveforms: torch.Tensor, lengths: torch.Tensor) -> Frames:
        """Compute the layers side by side."""
        if self.own_length:
            energies, count = self.log_mel(waveforms, lengths)
            states, count = encoder_states(self.network, energies.transpose(1, 2), count, self.taken)
            return torch.cat(states, dim=-1), count
        step, _ = self.grid
        wanted = (waveforms.shape[1] + step - 1) // step
        whole = F.pad(waveforms, (0, self.longest - waveforms.shape[1]))
        energies, _ = self.log_mel(whole, torch.full_like(lengths, self.longest))
        states, _ = encoder_states(self.network, energies.transpose(1, 2), None, self.taken)
        return torch.cat(states, dim=-1)[:, :wanted], (lengths + step - 1) // step


class Samples(nn.Module):
    """A waveform as an encoder reads it that belongs to the model: `EncoderInput`'s "waveform"."""

    def __init__(self, shortest: int, normalize: bool) -> None:
        super().__init__()
        self.shortest, self.normalize, self.grid = shortest, normalize, (1, (shortest - 1) / 2)

    def forward(self, waveforms: torch.Tensor, lengths: torch.Tensor) -> Frames:
        """Give samples, (batch, samples, 1), normalized over each clip where that is asked for."""
        count = lengths.clamp(min=self.shortest)
        if self.normalize:
            number, own = count[:, None].to(waveforms.dtype), within(waveforms.shape[1], count)
            centered = (waveforms - waveforms.sum(dim=1, keepdim=True) / number).masked_fill(~own, 0)
            variance = centered.square().sum(dim=1, keepdim=True) / number
            waveforms = centered / (variance + 1e-7).sqrt()
        return waveforms[..., None], count


class WaveformStates(nn.Module):
    """Layers of an encoder that reads waveforms."""

    def __init__(self, encoder: SpeechEncoder) -> None:
        super().__init__()
        self.samples = Samples(encoder._samples_seen, encoder.extractor.do_normalize)
        self.network, self.taken = encoder.model, encoder.taken
        self.shortest, self.grid = self.samples.shortest, encoder.grid

    def forward(self, waveforms: torch.Tensor, lengths: torch.Tensor) -> Frames:
        """Compute the layers side by side."""
        samples, count = self.samples(waveforms, lengths)
        states, count = encoder_states(self.network, samples[..., 0], count, self.taken)
        return torch.cat(states, dim=-1), count


class DeepSpeechStates(nn.Module):
    """Layers of DeepSpeech, and before them the cepstral coefficients of either of its front ends."""

    def __init__(self, encoder: DeepSpeechEncoder) -> None:
        super().__init__()
        self.mfcc, self.taken = encoder.extractor.front_end, encoder.taken
        self.network = copy.copy(encoder.model)  # which stays as it is
        self.network._modules = self.network._modules | {"lstm": GraphLSTM(encoder.model.lstm)}
        self.shortest, self.grid, self.fewest = self.mfcc.win_length, encoder.grid, encoder.extractor.fewest_samples
        window, filters, cosines = self.mfcc._matrices()
        self.register_buffer("basis", fourier_basis(window, self.mfcc.fft_length))
        self.register_buffer("filters", torch.from_numpy(filters))
        self.register_buffer("cosines", torch.from_numpy(cosines))

    def forward(self, waveforms: torch.Tensor, lengths: torch.Tensor) -> Frames:
        """Compute the layers side by side."""
        mfcc, lengths = self.mfcc, lengths.clamp(min=self.fewest)
        hop, beyond = mfcc.hop_length, waveforms.shape[1] - mfcc.win_length
        # As many frames as either front end and framing gives the longest clip, at least.
        frames, tape = beyond // hop + 2, waveforms.double()
        if of_release_4 := isinstance(mfcc, SpeechFeaturesMFCC):
            tape = tape * INT16_SCALE
            tape = tape - PRE_EMPHASIS * F.pad(tape, (1, 0))[:, :-1]
            tape = tape.masked_fill(~within(waveforms.shape[1], lengths), 0)
        found = powers(cut_frames(F.pad(tape, (0, 2 * hop)), frames, mfcc.win_length, hop), self.basis)
        if of_release_4:
            found, floor = found / mfcc.fft_length, FLOORS[mfcc.floor]
            energy, mels = found.sum(dim=2, keepdim=True), found @ self.filters
            coefficients = torch.where(mels == 0, floor, mels).log() @ self.cosines
            coefficients = torch.cat([torch.where(energy == 0, floor, energy).log(), coefficients[..., 1:]], dim=2)
        else:
            coefficients = (found.sqrt() @ self.filters).clamp(min=mfcc.FLOOR).log() @ self.cosines
        count = num_frames(mfcc, lengths)
        own = within(frames, count)
        inputs = coefficients.float().masked_fill(~own[..., None], 0)
        output = self.network(inputs, own.long(), last_layer=max(self.taken), output_hidden_states=True)
        return torch.cat([output.hidden_states[layer] for layer in self.taken], dim=-1), count


class GraphLSTM(nn.Module):
    """An LSTM that becomes ONNX's own operation: torch.export would write out each frame of the example."""

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        self.lstm = lstm

        def reordered(weights: torch.Tensor) -> torch.Tensor:
            into, forget, proposal, out = weights.detach().chunk(4)
            return torch.cat([into, out, forget, proposal])

        self.register_buffer("given", reordered(lstm.weight_ih_l0)[None])  # (1, 4 × hidden, input)
        self.register_buffer("recurrent", reordered(lstm.weight_hh_l0)[None])  # (1, 4 × hidden, hidden)
        biases = [reordered(lstm.bias_ih_l0), reordered(lstm.bias_hh_l0)]
        self.register_buffer("biases", torch.cat(biases)[None])  # (1, 8 × hidden)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """Run over (batch, frames, input)."""
        if not torch.compiler.is_exporting():
            return self.lstm(x)
        batch, frames, hidden = x.shape[0], x.shape[1], self.lstm.hidden_size
        output, *state = torch.onnx.ops.symbolic_multi_out(
            "LSTM",
            (x.transpose(0, 1), self.given, self.recurrent, self.biases),
            {"hidden_size": hidden},
            dtypes=(x.dtype,) * 3,
            shapes=((frames, 1, batch, hidden), (1, batch, hidden), (1, batch, hidden)),
        )
        return output[:, 0].transpose(0, 1), tuple(state)


class Features(nn.Module):
    """The streams of an extractor at common times, as `SERFeatureExtractor.compute` gives them after its front."""

    def __init__(self, extractor: SERFeatureExtractor) -> None:
        super().__init__()
        self.leading = extractor.streams.index(extractor._leading)
        self.dtype = DTYPES[extractor.feature_dtype]
        self.streams = nn.ModuleList(stream_of(extractor, name) for name in extractor.streams)
        # Samples of a batch, padding included.
        self.shortest = max(LEAST, *(stream.shortest for stream in self.streams))
        most = [stream.longest for stream in self.streams if hasattr(stream, "longest")]
        self.longest = min([MOST_SECONDS * extractor.sampling_rate, *most])

    def forward(self, waveforms: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute features, (batch, frames, size), 0 where padded, and their mask, (batch, frames)."""
        found = [stream(waveforms, lengths) for stream in self.streams]
        frames, count = found[self.leading]
        own = within(frames.shape[1], count)
        step, first = self.streams[self.leading].grid
        times = torch.arange(frames.shape[1]) * step + first
        together = [
            frames if index == self.leading else interpolated(*found[index], *stream.grid, times)
            for index, stream in enumerate(self.streams)
        ]
        features = torch.cat(together, dim=2) if len(together) > 1 else frames
        return features.masked_fill(~own[..., None], 0).to(self.dtype), own.long()


def stream_of(extractor: SERFeatureExtractor, name: str) -> nn.Module:
    """Make the graph's way to compute a stream."""
    if name == MEL:
        return MelDeltas(extractor)
    network = extractor._network(name)
    if isinstance(network, EncoderInput):
        if network.entry["input"] == "log-mel":
            return WhisperLogMel(network.mel_filters.numpy(), network.entry["window"])
        return Samples(network.entry["shortest"], network.entry["normalize"])
    if isinstance(network, WhisperEncoder):
        read = (network.extractor.n_fft, network.extractor.hop_length)
        if read != (N_FFT, HOP_LENGTH):
            raise ValueError(f"A Whisper of windows and steps of {read} samples has no graph here.")
        return WhisperStates(network)
    return DeepSpeechStates(network) if isinstance(network, DeepSpeechEncoder) else WaveformStates(network)


def num_frames(mfcc: FrontEnd, lengths: torch.Tensor) -> torch.Tensor:
    """`mfcc.num_frames` of many clips, (batch,)."""
    beyond, hop, native = lengths - mfcc.win_length, mfcc.hop_length, mfcc.framing == "native"
    if not isinstance(mfcc, SpeechFeaturesMFCC):
        return (beyond.clamp(min=-hop) // hop + 1) + native
    if native:
        return torch.where(beyond < 0, 1, beyond.clamp(min=0) // hop + 2)
    return 1 + (beyond.clamp(min=0) + hop - 1) // hop


def interpolated(
    frames: torch.Tensor, count: torch.Tensor, step: int, first: float, times: torch.Tensor
) -> torch.Tensor:
    """Bring frames, (batch, frames, size), to other times, (wanted,): linear between neighbors, constant outside."""
    last = (count - 1)[:, None]
    positions = ((times - first) / step).clamp(min=0).minimum(last.to(times.dtype))  # (batch, wanted), in frames
    left = positions.floor().long().minimum((last - 1).clamp(min=0))
    right = (left + 1).minimum(last)
    share = (positions - left).unsqueeze(-1)
    size = frames.shape[2]
    pair = [frames.gather(1, place[..., None].expand(-1, -1, size)) for place in (left, right)]
    return torch.lerp(*pair, share)  # (batch, wanted, size)


def first_and_last(true: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Give the places of each row's first and last truth, (batch,); 0 and -1 where there is none."""
    place = torch.arange(true.shape[1])
    last = torch.where(true, place, -1).amax(dim=1)
    return torch.where(true, place, place + true.shape[1]).amin(dim=1) * (last >= 0), last


def moved(rows: torch.Tensor, first: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """Move so many numbers of each row, from its first on, to the row's beginning; zeros after them."""
    place = torch.arange(rows.shape[1])
    own = place < count[:, None]
    return rows.gather(1, torch.where(own, place + first[:, None], 0)).masked_fill(~own, 0)


def averages_of_runs(energies: torch.Tensor, begin: torch.Tensor, end: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Average each run of `front.LONG` blocks of a row from its begin to its end, or all where there are fewer.

    Beside the averages, (batch, blocks), by where a run begins, comes which of them there are.
    """
    place = torch.arange(energies.shape[1])
    inside = (place >= begin[:, None]) & (place < end[:, None])
    length = (end - begin).clamp(min=1, max=front.LONG)[:, None]  # (batch, 1)
    sums = run_sums(energies.masked_fill(~inside, 0), front.LONG, 0)
    return sums / length, (place >= begin[:, None]) & (place <= end[:, None] - length)


def run_sums(energies: torch.Tensor, length: int, before: int) -> torch.Tensor:
    """Sum each run of so many blocks, which begins so many before its place, with zeros around, (batch, blocks)."""
    padded = F.pad(energies, (before, length - 1 - before))
    return cut_frames(padded, energies.shape[1], length, 1).sum(dim=2)


def within(size: int, counts: torch.Tensor) -> torch.Tensor:
    """Which places of each row are its own, (batch, size)."""
    return torch.arange(size) < counts[:, None]


def cut_frames(waveforms: torch.Tensor, frames: int, length: int, hop: int) -> torch.Tensor:
    """Cut so many frames, (batch, frames, length)."""
    return waveforms[:, torch.arange(frames)[:, None] * hop + torch.arange(length)]


def fourier_basis(window: np.ndarray, transform: int) -> torch.Tensor:
    """Return what turns samples into the windowed transform's real and imaginary parts, (samples, 2 × bins)."""
    angles = 2 * np.pi * np.outer(np.arange(len(window)), np.arange(transform // 2 + 1)) / transform
    return torch.from_numpy(np.concatenate([np.cos(angles), np.sin(angles)], axis=1) * window[:, None])


def powers(frames: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """Compute the powers of frames, (batch, frames, bins), float64."""
    real, imaginary = (frames.double() @ basis).chunk(2, dim=-1)
    return real.square() + imaginary.square()


def ratio(decibels: float) -> float:
    """Turn decibels into a ratio of energies."""
    return 10 ** (decibels / 10)
