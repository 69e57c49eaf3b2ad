"""What libsndfile does not decode is decoded by FFmpeg, which the package av brings along."""

from collections.abc import Iterator
from importlib import import_module
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np

from .audio_phones import DEMUXERS
from .audio_streams import DamageError, Sound

_LEAST_VERSION = 18  # of av; older ones take what stands before the sound in CAF for a part of it
_NEEDED = (
    "{}: is of the kind {}, which the package av decodes, {}: install it, "
    f"`pip install 'av>={_LEAST_VERSION}'` (the extra `formats`), or convert the file, to .flac perhaps."
)
_BLOCK_FRAMES = 1 << 18
# So far time stamps and samples may be apart: browsers stamp by a clock that is not the microphone's.
_STAMP_SECONDS, _STAMP_DRIFT = 0.025, 2e-4
# So much may follow the stated end: what fills up the last frame, of two kilosamples at most.
_MOST_FILLING = 0.2  # s
# Of what FFmpeg has two decoders for, the one that knows the pauses in which telephones send nothing.
_PREFERRED = {"amrnb": "libopencore_amrnb", "amrwb": "libopencore_amrwb"}


class FFmpegSound:
    """A sound that FFmpeg decodes, read as one reads a `soundfile.SoundFile`."""

    def __init__(self, file: BinaryIO, sound: Sound, name: str) -> None:
        try:
            # Not an import statement: transformers would ask for the package wherever a copy of this code is loaded.
            self._av = import_module("av")
        except ImportError as error:
            raise ValueError(_NEEDED.format(name, sound.kind, "and which is not here")) from error
        if int(self._av.__version__.partition(".")[0]) < _LEAST_VERSION:
            raise ValueError(_NEEDED.format(name, sound.kind, f"and {self._av.__version__} of it is too old"))
        self.format, self.notes = sound.kind, sound.notes
        try:
            # Named, the format is not guessed, which might find one that refers to other files.
            self._container = self._av.open(file, format=DEMUXERS[sound.kind], metadata_errors="replace")
        except self._av.FFmpegError as error:
            raise DamageError(f"truncated or damaged, it cannot be opened ({error.strerror})") from error
        try:
            self._open_track(sound)
        except BaseException:
            self._container.close()
            raise

    def _open_track(self, sound: Sound) -> None:
        streams = self._container.streams
        if not streams.audio:
            raise DamageError(f"no sound is in it, but {len(streams)} track(s) of something else")
        self._track = track = streams.audio[0]
        if len(streams.audio) > 1:
            self.notes.append(f"the first of its {len(streams.audio)} tracks of sound is taken")
        if track.codec_context is None:
            raise DamageError("its sound is coded in a way that FFmpeg does not know")
        self.subtype = track.codec_context.name
        self._decoder = self._choose_decoder(track.codec_context)
        self._begin = self._end = None  # s, of what was decoded
        self._all = self._given = 0  # samples that were decoded, and that were read
        self._frames = self._decode()
        self._held: list[np.ndarray] = []  # decoded and not yet read, (channels, samples) each
        first = next(self._frames, None)
        if first is None:
            self.samplerate, self.channels = track.codec_context.sample_rate, track.codec_context.channels
        else:
            self.samplerate, self.channels = first.sample_rate, first.layout.nb_channels
            self._hold(first)
        self._start = float((track.start_time or 0) * track.time_base) if self._begin is not None else 0.0
        self._stated = self._stated_seconds()
        # What fills up the last frame is no sound, and some containers say where that ends.
        exact = self._stated is not None and sound.kind != "WebM or Matroska"
        self._limit = round(self._stated * self.samplerate) if exact else None

    def _choose_decoder(self, given: Any) -> Any:
        try:
            decoder = self._av.CodecContext.create(_PREFERRED[given.name], "r")
        except (KeyError, self._av.codec.codec.UnknownCodecError):
            return given
        decoder.sample_rate, decoder.layout = given.sample_rate, given.layout
        return decoder

    def _stated_seconds(self) -> float | None:
        """Return how long the container says that the sound is, from its first sample on."""
        track, begin = self._track, self._begin or 0.0
        if self.format in ("MP4 or M4A", "CAF") and track.duration:
            return float(track.duration * track.time_base) - max(0.0, begin - self._start)
        if self.format == "WebM or Matroska" and self._container.duration and len(self._container.streams) == 1:
            # Counted from the first packet, of which a decoder may drop what comes before 0.
            return self._container.duration / self._av.time_base + min(0.0, self._first) - begin
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._container.close()

    @property
    def frames(self) -> int:
        """Samples per channel, when all was read: those that were, and those that lack at the end."""
        lost = 0
        if self._stated is not None:
            there = (self._end or 0.0) - (self._begin or 0.0)
            lost = int((self._stated - there - 2 * self._track.time_base) * self.samplerate)
        return self._given + max(0, lost)

    def read(self, frames: int = _BLOCK_FRAMES, dtype: str = "float32", always_2d: bool = True) -> np.ndarray:
        """Return the next samples, (samples, channels), as many and the rest of a frame perhaps; none at the end."""
        held = sum(part.shape[1] for part in self._held)
        while held < frames and (frame := next(self._frames, None)):
            held += self._hold(frame)
        block = np.concatenate(self._held, axis=1) if self._held else np.zeros((self.channels, 0), np.float32)
        self._held = []
        if self._limit is not None:
            block = block[:, : max(0, self._limit - self._given)]
        self._given += block.shape[1]
        if not block.shape[1]:
            self._compare_times()
        return block.T.astype(dtype, copy=False)

    def _compare_times(self) -> None:
        """Tell of what lacks between, and of what follows the stated end."""
        if self._limit is not None and self._all - self._limit > _MOST_FILLING * self.samplerate:
            self.notes.append(f"its index states {self._limit} samples, and at least {self._all} are there")
        elif self._begin is not None:
            apart = self._end - min(self._begin, self._start) - self._all / self.samplerate
            if abs(apart) > _STAMP_SECONDS + _STAMP_DRIFT * self._end:
                what = "more" if apart > 0 else "less"
                self.notes.append(
                    f"its time stamps tell of {1000 * abs(apart):.0f} ms {what} than its samples make, some of which "
                    "may be missing"
                )

    def _decode(self) -> Iterator[Any]:
        """Yield the frames, and keep their times."""
        self._first = 0.0
        try:
            for number, packet in enumerate(self._container.demux(self._track)):
                if packet.is_corrupt:
                    raise DamageError("truncated or damaged, one of its packets is not whole")
                if not number and packet.pts is not None:
                    self._first = float(packet.pts * self._track.time_base)
                yield from self._decoder.decode(packet)
        except self._av.FFmpegError as error:
            raise DamageError(f"truncated or damaged, decoding failed ({error.strerror})") from error

    def _hold(self, frame: Any) -> int:
        """Keep a frame's samples, as (channels, samples), float32; returns how many there are."""
        if (frame.sample_rate, frame.layout.nb_channels) != (self.samplerate, self.channels):
            raise DamageError("its sampling rate or the number of its channels changes within")
        samples = frame.to_ndarray()
        if not frame.format.is_planar:
            samples = samples.reshape(-1, self.channels).T  # (channels, samples)
        if samples.dtype.kind != "f":
            full_scale = 2.0 ** (8 * samples.dtype.itemsize - 1)
            samples = (samples - (full_scale if samples.dtype.kind == "u" else 0.0)) / full_scale
        if frame.pts is not None:
            time = float(frame.pts * self._track.time_base)
            self._begin = time if self._begin is None else self._begin
            self._end = time + samples.shape[1] / self.samplerate
        self._all += samples.shape[1]
        self._held.append(samples.astype(np.float32, copy=False))
        return samples.shape[1]
