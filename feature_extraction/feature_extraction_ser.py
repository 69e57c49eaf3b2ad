"""The feature extractor: waveforms in, one padded sequence of features and its mask out."""

import copy
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from huggingface_hub import HfApi

from .encoder_files import naming
from .extractor_settings import DTYPES, MEL, PLACE_KEYS, TAKEN_KEYS, check_saved_entry, check_settings, check_streams
from .mel_deltas import log_mel_deltas
from .speech_front import speech_part
from .waveform_extractor import WaveformExtractor

if TYPE_CHECKING:
    from .encoder_inputs import EncoderInput
    from .speech_encoders import SpeechEncoder

_HUB_KEYS = ("cache_dir", "force_download", "local_files_only", "token", "revision")
FRAMES_AT_ONCE = 10_000
# Of each file of a folder its inode, time in ns and size.
Stamps = dict[str, tuple[int, int, int]]


class SERFeatureExtractor(WaveformExtractor):
    """Feature extractor of the speech emotion models.

    The stream "mel" is, every 25 ms, 128 log-mel energies with their deltas and delta-deltas: librosa's
    `power_to_db(melspectrogram(y, sr=16000, n_fft=2048, hop_length=400, win_length=400, n_mels=128), top_db=None)` and
    `feature.delta(width=9, mode="nearest")` of it, to float32's accuracy.

    Every other stream is the activations of one layer of a frozen encoder, or of several side by side: DeepSpeech's
    fifth is the paper's. Streams side by side share the times of "mel", or else of the first: the frames of the others
    are interpolated to them, linearly between neighbors and constant outside.

    Args:
        streams: What a frame holds, side by side: "mel" and names of encoders, for example ("mel", "deepspeech").
        sampling_rate: Of the waveforms, in Hz.
        n_fft: Length of the transform whose bins the mel filters are defined on, in samples; even.
        win_length: Length of the Hann window, in samples; at most `n_fft`.
        hop_length: Step between frames, in samples.
        num_mel_bins: Number of mel filters between 0 Hz and half the sampling rate.
        encoders: For every stream but "mel" where its network is: `{"name_or_path": …, "revision": …, "layer": …}`,
            a folder or an id on the Hub, of a DeepSpeech, wav2vec 2.0, HuBERT, WavLM, UniSpeech or Whisper. `layer` is
            a number, 0 for what enters the first block, or a list of numbers, whose activations then are side by side
            in that order; without it, it is 5 for DeepSpeech and the last one for others. Whisper's entry can say
            `"context": "clip"`: a clip is read at its own length, many times faster than in the 30 s that Whisper was
            trained with, which are what "30s" and no word stand for; and `"dtype": "bfloat16"`: it is computed in half
            precision, whose scores are not promised to be the same everywhere (it changes 1.6 % of the labels that the
            model which comes along gives to strangers, and costs no UA: `python -m benchmarks predict`). Where the
            network belongs to the model, the entry says what it reads: `{"input": "log-mel", …}` or
            `{"input": "waveform", …}`, as `EncoderInput` takes.
        feature_dtype: "float32", or "float16": the features are then rounded to it as the last step.
        dynamic_range: Floor of the log-mel energies below each clip's loudest one, in dB; `None` for none.
        clip_normalization: What is subtracted from a clip's log-mel energies: "none", "level", their mean, or "band",
            each band's mean. Either makes features of loud and quiet recordings alike; see `normalize_clip`.
        front: What is done to a clip before anything else: "none", or "speech": the silence at its ends is cut off and
            its speech brought to one level, so that neither says anything; see `speech_part`.
        **kwargs: What transformers itself writes into `preprocessor_config.json`; anything else is refused.

    Raises:
        ValueError: A setting is unknown, of the wrong kind or out of range.

    Source: "Deep encoded linguistic and acoustic cues for attention based end to end speech emotion recognition",
    ICASSP 2020 (25 ms frames of 128 log-mel energies with first and second differences; activations of DeepSpeech's
    fifth layer). How two frame rates meet is our choice.

    Example:
        >>> import numpy as np
        >>> extractor = SERFeatureExtractor()
        >>> waveforms = [np.random.randn(16000), np.random.randn(8000)]
        >>> features = extractor(waveforms, sampling_rate=16000, padding=True, return_tensors="pt")
        >>> features["input_features"].shape, features["attention_mask"].sum(dim=1)
        (torch.Size([2, 41, 384]), tensor([41, 21]))
    """

    def __init__(
        self,
        streams: Sequence[str] = ("mel",),
        sampling_rate: int = 16_000,
        n_fft: int = 2048,
        win_length: int = 400,
        hop_length: int = 400,
        num_mel_bins: int = 128,
        encoders: dict[str, Any] | None = None,
        feature_dtype: str = "float32",
        dynamic_range: float | None = None,
        clip_normalization: str = "none",
        front: str = "none",
        **kwargs: Any,
    ) -> None:
        encoders = check_streams(streams, encoders)
        super().__init__(sampling_rate, kwargs)
        self.streams = tuple(streams)
        self.encoders = encoders
        self._networks: dict[str, SpeechEncoder | EncoderInput] = {}
        # Where each network was last saved, and as what: the next save links to those files while they are the same.
        self._saved_networks: dict[str, tuple[Path, Stamps]] = {}
        self.num_mel_bins = num_mel_bins
        self.n_fft = n_fft
        self.win_length = win_length
        self.hop_length = hop_length
        self.feature_dtype = feature_dtype
        self.dynamic_range = dynamic_range
        self.clip_normalization = clip_normalization
        self.front = front
        check_settings(self)
        for stream, entry in self.encoders.items():
            if "input" in entry:
                self._networks[stream] = _input(entry, sampling_rate)
            elif "digest" not in entry:  # not from a file: its size and weights are still to be found out
                self._attach(stream, _load(**_source(entry)))
        self.feature_size = sum(self.stream_sizes)

    def compute(self, waveforms: list[torch.Tensor]) -> tuple[torch.Tensor, list[int]]:
        """Compute the features of waveforms, (batch, frames, feature_size), and each clip's number of frames."""
        if self.front == "speech":
            waveforms = [speech_part(waveform)[0] for waveform in waveforms]
        features, lengths = self._mel(waveforms) if self.streams == (MEL,) else self._side_by_side(waveforms)
        return features.to(DTYPES[self.feature_dtype]), lengths

    def num_frames(self, samples: int) -> int:
        """Return the number of frames of a clip of so many samples; with a front that cuts clips, the most of them."""
        if self._leading == MEL:
            return 1 + samples // self.hop_length
        return self._side_by_side([torch.zeros(samples)])[1][0]

    def _mel(self, waveforms: list[torch.Tensor]) -> tuple[torch.Tensor, list[int]]:
        """Features of the stream "mel", (batch, frames, size), and each clip's number of frames."""
        return log_mel_deltas(
            waveforms,
            sampling_rate=self.sampling_rate,
            n_fft=self.n_fft,
            win_length=self.win_length,
            hop_length=self.hop_length,
            num_mel_bins=self.num_mel_bins,
            dynamic_range=self.dynamic_range,
            clip_normalization=self.clip_normalization,
        )

    def _side_by_side(self, waveforms: list[torch.Tensor]) -> tuple[torch.Tensor, list[int]]:
        """Features of all streams at common times, (batch, frames, size), and each clip's number of frames."""
        from .speech_encoders import interpolate

        device = waveforms[0].device
        frames: dict[str, Sequence[torch.Tensor]] = {}  # of each stream, for each clip (frames, size)
        for stream in self.streams:
            if stream == MEL:
                mel, lengths = self._mel(waveforms)
                frames[MEL] = [clip[:length] for clip, length in zip(mel, lengths, strict=True)]
            else:
                frames[stream] = self._network(stream)(waveforms)
        leading = self._leading
        lengths = [len(clip) for clip in frames[leading]]
        batch = torch.zeros(len(lengths), max(lengths), self.feature_size, device=device)
        first = 0
        for stream, size in zip(self.streams, self.stream_sizes, strict=True):
            for row, clip, length in zip(batch, frames.pop(stream), lengths, strict=True):
                place = row[:length, first : first + size]
                if stream == leading:
                    place.copy_(clip)
                    continue
                centers, times = self._centers(stream, len(clip), device), self._centers(leading, length, device)
                # Part by part: of an hour, there are no more copies than these two.
                for part, some in zip(place.split(FRAMES_AT_ONCE), times.split(FRAMES_AT_ONCE), strict=True):
                    part.copy_(interpolate(clip, centers, some))
            first += size
        return batch, lengths

    def frame_times(self, frames: int, waveform: np.ndarray | None = None) -> np.ndarray:
        """Say when the frames of a clip's features are.

        Args:
            frames: Number of frames, counted from the first.
            waveform: The clip, (samples,). A `front` that cuts silence off needs it to say when in the clip
                the frames are; without it, times count from where speech begins.

        Returns:
            Time of each in seconds, (frames,): where the window that it is computed from has its center.

        Raises:
            ValueError: If the times are an encoder's, and it is not loaded.
        """
        centers = self._centers(self._leading, frames, torch.device("cpu")).double().numpy()
        if waveform is not None and self.front == "speech":
            centers = centers + speech_part(torch.as_tensor(waveform))[1]
        return centers / self.sampling_rate

    @property
    def _leading(self) -> str:
        """The stream whose times the others are interpolated to."""
        return MEL if MEL in self.streams else self.streams[0]

    def _centers(self, stream: str, frames: int, device: torch.device) -> torch.Tensor:
        """The sample that each frame of a stream stands at, (frames,)."""
        if stream == MEL:
            return torch.arange(frames, device=device) * float(self.hop_length)
        return self._network(stream).centers(frames, device)

    @property
    def stream_sizes(self) -> list[int]:
        """Features per frame of each stream, in order: `SERConfig.stream_sizes`."""
        return [3 * self.num_mel_bins if stream == MEL else self.encoders[stream]["size"] for stream in self.streams]

    def _attach(self, stream: str, network: "SpeechEncoder") -> None:
        """Take a loaded network for a stream, if it is the one that the entry describes."""
        if network.sampling_rate != self.sampling_rate:
            raise ValueError(
                f"The encoder of the stream {stream!r} works at {network.sampling_rate} Hz and this extractor at "
                f"{self.sampling_rate} Hz; choose sampling_rate={network.sampling_rate}."
            )
        found = {"layer": network.layer, "size": network.size, "digest": network.digest()}
        entry = self.encoders[stream]
        for key, value in found.items():
            if entry.get(key, value) != value:
                raise ValueError(
                    f"The encoder of the stream {stream!r} is not the one that these features were made with: its "
                    f"{key} is {value!r}, and {entry[key]!r} is expected. Pin the revision, or restore the folder."
                )
        entry.update(found)
        self._networks[stream] = network

    def _network(self, stream: str) -> "SpeechEncoder":
        if stream not in self._networks:
            raise ValueError(
                f"The encoder of the stream {stream!r} is not loaded; load the extractor with `from_pretrained`."
            )
        return self._networks[stream]

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any) -> Self:
        """Load an extractor with its encoders.

        Args:
            pretrained_model_name_or_path: A folder, or the id of a repository on the Hub.
            kwargs: `revision`, `subfolder`, `token`, `cache_dir` and so on, and settings to change. A folder whose
                encoder is on the Hub is loaded with what was fetched before; `local_files_only=False` fetches it.

        Returns:
            The extractor; encoders that were bundled come from the same place, others from where their entry says.

        Raises:
            OSError: If there is no such extractor or encoder.
            ValueError: If settings have no sense, or an encoder is damaged, or not the one that the extractor was
                saved with.
        """
        loaded = super().from_pretrained(pretrained_model_name_or_path, **kwargs)
        extractor = loaded[0] if isinstance(loaded, tuple) else loaded  # with return_unused_kwargs
        hub = {key: kwargs[key] for key in _HUB_KEYS if kwargs.get(key) is not None}
        local = os.path.isdir(pretrained_model_name_or_path)
        for stream, entry in extractor.encoders.items():
            if stream in extractor._networks:
                continue
            if entry.get("bundled"):
                subfolder = "/".join(filter(None, [kwargs.get("subfolder"), stream]))
                place = {"name_or_path": str(pretrained_model_name_or_path), "subfolder": subfolder, **hub}
            else:
                place = {**hub, "revision": None, **_source(entry)}
                if local:  # it is not for a file that somebody sent to decide that the network is asked
                    place["local_files_only"] = kwargs.get("local_files_only") is not False
            taken = {key: entry[key] for key in TAKEN_KEYS if key in entry}
            try:
                with naming(pretrained_model_name_or_path, f"its encoder of the stream {stream!r} cannot be used"):
                    extractor._attach(stream, _load(**{**place, **taken}))
            except OSError as error:
                if entry.get("bundled") or not local:
                    raise
                name, revision = entry["name_or_path"], entry["revision"]
                raise FileNotFoundError(
                    f"{pretrained_model_name_or_path}: its encoder {name} is not on this machine. Fetch it with "
                    f"`hf download {name} --revision {revision}`, or load with local_files_only=False. ({error})"
                ) from error
        return loaded

    @classmethod
    def from_dict(cls, feature_extractor_dict: dict[str, Any], **kwargs: Any) -> Self:
        """Make an extractor of what a `preprocessor_config.json` holds, whose encoders have digests, as saved ones.

        Others are refused: they would be loaded from anywhere, and unseen.
        """
        entries = feature_extractor_dict.get("encoders") if isinstance(feature_extractor_dict, dict) else None
        for stream, entry in (entries or {}).items() if "encoders" not in kwargs else ():
            check_saved_entry(stream, entry)
        return super().from_dict(feature_extractor_dict, **kwargs)

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        push_to_hub: bool = False,
        bundle_encoders: bool = True,
        **kwargs: Any,
    ) -> list[str]:
        """Save the settings, the code, and the encoders.

        A network that this extractor saved before is linked to, not written again, where the file system allows it:
        the checkpoints of a training share one copy on disk.

        Args:
            save_directory: Folder to save in.
            push_to_hub: Whether to push to the Hub too.
            bundle_encoders: Whether each encoder is saved too, in a subfolder named like its stream. Without, the
                entry is written as a reference; only an id on the Hub with a revision can be one, a folder is always
                bundled.
            kwargs: As of transformers, for the push (`repo_id`, `commit_message`, `private`, `token`).

        Returns:
            The files written by transformers.
        """
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        message = kwargs.pop("commit_message", None)
        if push_to_hub:  # not left to transformers, which would take the encoders for files that were there before
            name = kwargs.pop("repo_id", folder.resolve().name)
            repository = HfApi().create_repo(name, exist_ok=True, **kwargs).repo_id
        kept, bundled = copy.deepcopy(self.encoders), []
        try:
            for stream, entry in self.encoders.items():
                if "input" in entry:  # its network is the model's
                    continue
                referable = entry.get("revision") is not None and not Path(entry.get("name_or_path", "")).exists()
                entry["bundled"] = bundle_encoders or not referable
                if entry["bundled"]:
                    bundled.append(stream)
                    self._save_network(stream, folder / stream)
                    if not referable:  # a folder of this machine is nobody's business
                        entry.pop("name_or_path", None)
            saved = super().save_pretrained(save_directory)
        finally:
            self.encoders = kept
        if push_to_hub:
            HfApi(token=kwargs.get("token")).upload_folder(
                repo_id=repository,
                folder_path=folder,
                commit_message=message or "Upload feature extractor",
                allow_patterns=[
                    "preprocessor_config.json",
                    *(file.name for file in folder.glob("*.py")),
                    *(f"{stream}/*" for stream in bundled),
                ],
            )
        return saved

    def _save_network(self, stream: str, folder: Path) -> None:
        """Save a network, or link to where it was saved before; the folder appears whole or not at all."""
        work = folder.with_name(f".{stream}.partial")
        shutil.rmtree(work, ignore_errors=True)  # what a killed run has left
        work.mkdir()
        try:
            saved, stamps = self._saved_networks.get(stream, (folder, {}))
            if stamps and _stamps(saved) == stamps:  # nobody has saved something else there since
                shutil.copytree(saved, work, copy_function=_link_or_copy, dirs_exist_ok=True)
            else:
                self._network(stream).save_pretrained(work)
            if folder.exists():
                shutil.rmtree(folder)
            work.replace(folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        self._saved_networks[stream] = (folder.resolve(), _stamps(folder))

    def to_dict(self) -> dict[str, Any]:
        """Settings as they are written into `preprocessor_config.json`: see `WaveformExtractor.to_dict`."""
        hidden = {name: self.__dict__.pop(name) for name in ("_networks", "_saved_networks")}
        try:  # transformers copies everything there is, networks included
            settings = super().to_dict()
        finally:
            self.__dict__.update(hidden)
        settings["streams"] = list(self.streams)
        settings["encoders"] = settings["encoders"] or None
        if self.front == "none":  # not written, so that what was computed before there were fronts is found again
            del settings["front"]
        return settings

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_saved_networks"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._saved_networks = {}


# Registered where the class is defined, so that it is saved with its code however it was imported.
SERFeatureExtractor.register_for_auto_class("AutoFeatureExtractor")


def _source(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What an entry says to `load_encoder`."""
    return {key: entry[key] for key in PLACE_KEYS + TAKEN_KEYS if entry.get(key) is not None}


def _load(**place: Any) -> "SpeechEncoder":
    # Imported when an encoder is wanted: networks are a burden on those who want log-mel features.
    from .speech_encoders import load_encoder

    return load_encoder(**place)


def _input(entry: Mapping[str, Any], sampling_rate: int) -> "EncoderInput":
    from .encoder_inputs import EncoderInput

    return EncoderInput(entry, sampling_rate)


def _stamps(folder: Path) -> Stamps:
    """What tells the files of a folder from others that take their place; nothing if there is no folder."""
    if not folder.is_dir():
        return {}
    found = {file.name: file.stat() for file in folder.iterdir()}
    return {name: (stat.st_ino, stat.st_mtime_ns, stat.st_size) for name, stat in found.items()}


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)
