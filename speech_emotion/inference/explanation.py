"""Why a model gives a clip its label: what each head attends to, and what changes when stretches of it are muted."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm import tqdm

from feature_extraction import SERFeatureExtractor
from modeling_ser import SERForAudioClassification
from speech_emotion.evaluation.figures_explanation import explanation_figure

from .clip_scores import logits_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from modeling_ser import SERPipeline

LONGEST = 30.0  # s; weights of heads grow with the square of it
STRETCH = 0.2  # s; a syllable
FEWEST, MOST = 4, 50  # stretches, side by side, that a clip is divided into at least and at most
FADE = 0.005  # s; a click would be heard otherwise
# What a muted stretch is multiplied by: 30 dB less, about a room's own noise. Digital silence is heard by many models
# as a thing of its own: it moved the scores of an EmoDB ensemble four times as far, whatever was muted.
QUIET = 10 ** (-30 / 20)


@dataclass(frozen=True)
class Muted:
    """A stretch of a recording, from `start` to `end` in seconds, and what the model says with it muted.

    `fall` is by how much the score that is explained is lower then, below 0 where it is higher; `text` the word.
    """

    start: float
    end: float
    fall: float
    scores: dict[str, float]
    text: str = ""


@dataclass(frozen=True)
class Explanation:
    """Why a model gives a clip its label; all times are in seconds from the beginning of the recording.

    Attributes:
        label: The label that is explained.
        scores: Of the clip as it is, the best first; values in the model's order.
        start: Beginning of the clip.
        end: Its end.
        stretches: The clip with each short stretch muted in turn; neighbors overlap by half.
        words: The clip with each word muted in turn; `None` where no recognizer was asked.
        head_names: Name of each head, of all members of an ensemble.
        attention: Weights, (heads, frames, frames), rows summing to 1.
        times: Of each frame, (frames,).
        log_mel: Log-mel energies in dB, (mel frames, bands).
        mel_step: From one mel frame to the next, in seconds.
        top_frequency: Upper end of the mel filters, in Hz.
    """

    label: str
    scores: dict[str, float]
    start: float
    end: float
    stretches: list[Muted]
    words: list[Muted] | None
    head_names: list[str]
    attention: np.ndarray
    times: np.ndarray
    log_mel: np.ndarray
    mel_step: float
    top_frequency: float

    @property
    def received(self) -> np.ndarray:
        """Mean weight that a frame is looked at with, times the number of frames, (heads, frames); 1 is even."""
        return self.attention.shape[-1] * self.attention.mean(axis=1)

    def to_dict(self) -> dict[str, Any]:
        """Return what `json.dumps` takes: everything but the spectrogram and the weights of single frames."""
        stretches = [asdict(one) for one in self.stretches]
        for one in stretches:
            del one["text"]
        return {
            "label": self.label,
            "scores": self.scores,
            "start": self.start,
            "end": self.end,
            "stretches": stretches,
            "words": self.words and [asdict(one) for one in self.words],
            "times": self.times.tolist(),
            "attention_received": dict(zip(self.head_names, self.received.tolist(), strict=True)),
        }


def explain(
    classifier: "SERPipeline",
    source: Any,
    *,
    label: str | None = None,
    start: float = 0.0,
    end: float | None = None,
    stretch_s: float | None = None,
    words: bool = False,
    language: str | None = None,
    batch_size: int = 8,
    progress: bool = False,
) -> Explanation:
    """Find out what in a recording makes a model give it its label.

    Short stretches are muted, 30 dB down, one after the other, and the clip is scored without each: what lowers the
    score that is explained spoke for it. That holds for the whole model. The attention of the heads shows where it
    gathers, not what it makes of that; a model with `statistics_head` also decides by statistics that no head sees.

    Args:
        classifier: The pipeline of a saved model of any kind; its `channel` and `max_seconds` hold.
        source: The recording, as for the pipeline.
        label: Whose score is explained; by default the highest, of a model of values, such as arousal, the first.
        start: Beginning of the part to explain, in seconds.
        end: Its end, by default that of the recording; the part has 0.1 to 30 s.
        stretch_s: Length of a stretch in seconds, below that of the part; by default 0.2, but a quarter of a part of
            less than 0.8 s, and a fiftieth of one of more than 10 s.
        words: Whether to have Whisper base, fetched once, find the words, and mute each of them, too.
        language: Which it takes them to be in, such as "en"; by default, Whisper judges by the sound.
        batch_size: Clips that are scored together.
        progress: Whether to show a bar on the standard error.

    Returns:
        The explanation; `draw_explanation` draws it, `to_dict` gives its numbers.

    Raises:
        ValueError: The recording cannot be used, the part is too long or not there, the model has no such label, or a
            number is out of its range.

    Example:
        >>> found = explain(classifier, "speech.wav", words=True)  # doctest: +SKIP
        >>> max(found.words, key=lambda word: word.fall)  # doctest: +SKIP
        Muted(start=1.24, end=1.9, fall=0.52, scores={'anger': 0.41, 'neutral': 0.38, …}, text='everything')
    """
    model, extractor = classifier.model, classifier.feature_extractor
    labels = [name for _, name in sorted(model.config.id2label.items())]
    if label is not None and label not in labels:
        raise ValueError(f"The model has no label {label!r}; it has {', '.join(labels)}.")
    clip = _part(classifier, source, start, end)  # (samples,)
    rate = extractor.sampling_rate
    if words:  # before the work: it may have to be fetched
        from .spoken_words import spoken_words

        heard = spoken_words(clip, rate, language)
    seconds = len(clip) / rate
    if stretch_s is None:
        stretch_s = max(min(STRETCH, seconds / FEWEST), seconds / MOST)
    if not 2 / rate <= stretch_s < seconds:
        raise ValueError(f"stretch_s={stretch_s!r}: must be more than 0, and less than the part's {seconds:g} s.")

    with torch.no_grad():
        features = extractor.extract([clip], device=classifier.device)
        output = model(**features, output_attentions=True, return_dict=True)
    (scores,) = classifier._scores(output.logits.cpu(), None).tolist()
    values = model.config.problem_type == "regression"
    place = labels.index(label or labels[0]) if label or values else int(np.argmax(scores))

    def muted(spans: Sequence[tuple[float, float]], texts: Sequence[str]) -> list[Muted]:
        """Score the clip without each of some spans, in seconds from its beginning."""
        clips = (_without(clip, round(first * rate), round(last * rate), round(FADE * rate)) for first, last in spans)
        rows = tqdm(_scores(classifier, clips, batch_size), total=len(spans), unit="muted", disable=not progress)
        return [
            Muted(start + first, start + last, scores[place] - row[place], dict(zip(labels, row, strict=True)), text)
            for (first, last), row, text in zip(spans, rows, texts, strict=True)
        ]

    width = round(stretch_s * rate)
    firsts = [*range(0, len(clip) - width, max(1, width // 2)), len(clip) - width]
    stretches = muted([(first / rate, (first + width) / rate) for first in firsts], [""] * len(firsts))
    attention = torch.cat(output.attentions, dim=1)[0].float().cpu().numpy()  # (heads, frames, frames)
    times = extractor.frame_times(features["input_features"].shape[1], clip)
    members = list(getattr(model, "members", [model]))  # not by its class, of which the Hub's code has another
    settings = {name: getattr(extractor, name) for name in ("sampling_rate", "n_fft", "win_length", "hop_length")}
    mel = SERFeatureExtractor(num_mel_bins=extractor.num_mel_bins, **settings).extract([clip])["input_features"]
    return Explanation(
        label=labels[place],
        scores=dict(sorted(zip(labels, scores, strict=True), key=lambda one: 0 if values else -one[1])),
        start=start,
        end=start + seconds,
        stretches=stretches,
        words=muted([(word.start, word.end) for word in heard], [word.text for word in heard]) if words else None,
        head_names=_head_names(members, extractor.streams),
        attention=attention,
        # A waveform's last samples may be too few for a frame of an encoder of the model's own.
        times=start + times[:: members[0].ser.frame_stride][: attention.shape[-1]],
        log_mel=mel[0, :, : extractor.num_mel_bins].numpy(),
        mel_step=extractor.hop_length / rate,
        top_frequency=rate / 2,
    )


def draw_explanation(found: Explanation, title: str | None = None, width: float = 8.0) -> "Figure":
    """Draw an explanation, so many inches wide."""
    return explanation_figure(
        label=found.label,
        start=found.start,
        end=found.end,
        log_mel=found.log_mel,
        mel_step=found.mel_step,
        top_frequency=found.top_frequency,
        stretches=[(one.start, one.end, one.fall) for one in found.stretches],
        words=found.words and [(one.text, one.start, one.end, one.fall) for one in found.words],
        attention=found.attention,
        times=found.times,
        head_names=[f"head {name}" if name.isdigit() else name for name in found.head_names],
        title=title,
        width=width,
    )


def head_places(model: SERForAudioClassification, streams: Sequence[str] | None = None) -> dict[str, tuple[int, int]]:
    """List the heads of a model.

    >>> from modeling_ser import SERConfig
    >>> head_places(SERForAudioClassification(SERConfig(num_attention_heads=2)))
    {'1': (0, 0), '2': (0, 1)}
    """
    number = len(model.ser.streams)
    names = [str(stream + 1) for stream in range(number)] if streams is None else list(streams)
    return {
        f"{names[stream]} {head + 1}" if number > 1 else str(head + 1): (stream, head)
        for stream in range(number)
        for head in range(model.config.num_attention_heads)
    }


def _head_names(members: Sequence[SERForAudioClassification], streams: Sequence[str]) -> list[str]:
    """Name the heads of all members and streams, in the order in which a model gives their weights."""
    several = len(members[0].ser.streams) > 1
    names = list(head_places(members[0], streams if several else None))
    if len(members) == 1:
        return names
    of_one = names if several else [f"head {name}" for name in names]
    return [f"member {number} {name}" for number in range(1, len(members) + 1) for name in of_one]


def _part(classifier: "SERPipeline", source: Any, start: float, end: float | None) -> np.ndarray:
    """Read a part of a recording, (samples,); no more than it is held."""
    if not 0 <= start < np.inf or not (end is None or start < end):
        raise ValueError(f"start={start!r}, end={end!r}: must be seconds, 0 or more, and the end after the start.")
    rate = classifier.feature_extractor.sampling_rate
    reading = {name: value for name, value in classifier._preprocess_params.items() if "length_s" not in name}
    first, last = round(start * rate), None if end is None else round(end * rate)
    kept: list[np.ndarray] = []
    samples = position = 0
    for block in classifier.feature_extractor.load_audio_blocks(source, **reading):
        kept.append(block[max(0, first - position) : None if last is None else max(0, last - position)])
        position, samples = position + len(block), samples + len(kept[-1])
        if samples > LONGEST * rate:
            raise ValueError(
                f"There are more than {LONGEST:g} s to explain. See with `ser predict --timeline` what is heard when, "
                "and explain a few seconds: start=12, end=16; in the command --start 12 --end 16."
            )
        if last is not None and position >= last:
            break
    if samples < 0.1 * rate:
        raise ValueError(
            f"From start={start:g} on this recording has {samples / rate:g} s; of less than 0.1 s nothing can be said."
        )
    return np.concatenate(kept)


def _without(clip: np.ndarray, first: int, last: int, fade: int) -> np.ndarray:
    """Mute the samples from the first to before the last, faded out and in."""
    muted = clip.copy()
    part = muted[first:last]
    gain = np.full(len(part), QUIET, np.float32)
    fade = min(fade, len(part) // 2)
    slope = np.linspace(1, QUIET, fade, dtype=np.float32)
    gain[:fade], gain[len(part) - fade :] = slope, slope[::-1]
    part *= gain
    return muted


def _scores(classifier: "SERPipeline", clips: Iterable[np.ndarray], batch_size: int) -> Iterator[list[float]]:
    """Score clips, so many at a time, in the order of the labels."""
    clips = iter(clips)
    while batch := list(islice(clips, batch_size)):
        yield from classifier._scores(logits_of(classifier, batch), None).tolist()


__all__ = ["Explanation", "Muted", "draw_explanation", "explain", "head_places"]
