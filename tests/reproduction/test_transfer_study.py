"""The transfer study: on corpora whose offsets are known, and from waveforms to the page."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

from reproduction.__main__ import main
from reproduction.studies.transfer_study import (
    LABELS,
    LAYERS,
    PLACE,
    SPEAKER,
    WAYS,
    Clips,
    LayerStatistics,
    Probe,
    Recipe,
    figures_of,
    guard_figures,
    halves,
    inverse_root,
    leave_out,
    remove_means,
    run_transfer_study,
    speaker_spread,
)
from tests.synthetic import speech_like

PLACES = ("one", "two", "three")
AS_IT_IS, PLACE_OTHERS, SPEAKER_OTHERS, BY_PLACE, BY_SPEAKER = (way.title for way in WAYS)
PLAIN = Recipe(LAYERS, None, 1.0)


def corpora(place: float = 0.0, voice: float = 0.0, clips: int = 48) -> Clips:
    """Make corpora of four speakers whose emotions are far apart, in places and voices that shift all values."""
    random = np.random.default_rng(0)
    emotions = random.normal(size=(len(LABELS), len(LAYERS), 6)) * 3
    rows: list[tuple[Any, ...]] = []
    for name in PLACES:
        of_place = random.normal(size=(len(LAYERS), 6)) * place
        for speaker in range(4):
            of_voice = random.normal(size=(len(LAYERS), 6)) * voice
            for clip in range(clips):
                noise = random.normal(size=(len(LAYERS), 6))
                truth = clip % len(LABELS)
                rows.append((emotions[truth] + of_place + of_voice + noise, truth, name, f"{name} {speaker}"))
    values, truth, places, speakers = zip(*rows, strict=True)
    return Clips(np.stack(values).astype(np.float32), np.array(truth), np.array(places), np.array(speakers))


def left_out(clips: Clips, recipe: Recipe = PLAIN) -> tuple[Probe, Clips]:
    return Probe(recipe, clips.of(clips.places != "one")), clips.of(clips.places == "one")


@pytest.mark.parametrize("shrinkage", [0.0, 1.0])
def test_without_shifts_every_way_does_alike(shrinkage: float) -> None:
    assert min(figures_of(*left_out(corpora(), Recipe(LAYERS, None, 1.0, shrinkage))).values()) > 0.99


def test_shrinkage_makes_little_of_what_tells_speakers_apart() -> None:
    random = np.random.default_rng(0)
    clips = corpora(clips=8)
    values = random.normal(size=(len(clips.truth), 3)) + clips.groups(SPEAKER)[:, None] * [5.0, 0.0, 0.0]
    stretch = inverse_root(np.eye(3) + speaker_spread(values, clips))
    assert stretch[0, 0] < 0.1 and np.diag(stretch)[1:].min() > 0.7


def test_statistics_of_the_place_remove_its_shift_and_those_of_speakers_theirs() -> None:
    found = figures_of(*left_out(corpora(place=30)))
    assert found[AS_IT_IS] < 0.6
    assert min(value for way, value in found.items() if way != AS_IT_IS) > 0.99
    for removed in (None, PLACE, SPEAKER):
        found = figures_of(*left_out(corpora(place=30, voice=30), Recipe((3, 4), removed, 1.0)))
        assert max(found[way] for way in (AS_IT_IS, PLACE_OTHERS, BY_PLACE)) < 0.7
        assert min(found[way] for way in (SPEAKER_OTHERS, BY_SPEAKER)) > (0.9 if removed == SPEAKER else 0.2)


def test_clips_that_give_statistics_are_not_scored() -> None:
    clips = corpora(place=30, voice=30)
    probe, test = left_out(clips, Recipe(LAYERS, SPEAKER, 1.0))
    drawn = halves(test.speakers)
    assert all(drawn[test.speakers == speaker].sum() == 24 for speaker in set(test.speakers))
    before = figures_of(probe, test)
    # Other labels of the half that is not scored change nothing.
    test.truth[drawn] = (test.truth[drawn] + 1) % len(LABELS)
    after = figures_of(probe, test)
    assert before[SPEAKER_OTHERS] == after[SPEAKER_OTHERS] and before[BY_SPEAKER] != after[BY_SPEAKER]


def test_means_of_groups_without_a_reference_are_those_of_all() -> None:
    values, groups = np.array([[2.0], [4.0], [9.0]]), np.array([0, 0, 1])
    assert remove_means(values, groups).tolist() == [[-1], [1], [0]]
    assert remove_means(values, groups, np.array([True, False, False])).tolist() == [[0], [2], [7]]


def test_the_tested_corpus_chooses_nothing() -> None:
    clips = corpora(place=10, voice=10)
    recipes = [Recipe((2, 3), removed, strength) for removed in (None, SPEAKER) for strength in (1e-4, 1.0)]
    rows = leave_out(clips, recipes, tell=lambda text: None)
    assert [(row["corpus"], row["way"]) for row in rows] == [(place, way.title) for place in PLACES for way in WAYS]
    of_one = clips.places == "one"
    clips.truth[of_one] = np.random.default_rng(1).permutation(clips.truth[of_one])
    again = leave_out(clips, recipes, tell=lambda text: None)
    chosen = ("layers", "removed", "strength", "ua_inner")
    for row, other in zip(rows[:5], again[:5], strict=True):  # those of the corpus "one"
        assert [row[name] for name in chosen] == [other[name] for name in chosen]
        assert row["ua"] > other["ua"]


def test_the_guard_tells_one_emotion_from_several() -> None:
    found = guard_figures(*left_out(corpora()))
    assert (found["refused_one"], found["refused_several"]) == (1.0, 0.0)
    assert found["right_one"] > 0.99 > 0.6 > found["right_adapted_one"]
    none = guard_figures(*left_out(corpora(clips=16)))  # too few of one emotion
    assert all(np.isnan(value) for value in none.values())


@pytest.fixture
def whisper(tmp_path: Path) -> str:
    torch.manual_seed(0)
    sizes = {"d_model": 8, "encoder_layers": 6, "encoder_attention_heads": 2, "encoder_ffn_dim": 8}
    decoder = {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 8, "vocab_size": 20}
    ends = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 1)
    WhisperModel(WhisperConfig(**sizes, **decoder, **ends)).save_pretrained(tmp_path / "whisper")
    WhisperFeatureExtractor().save_pretrained(tmp_path / "whisper")
    return str(tmp_path / "whisper")


def test_layers_are_described_clip_by_clip(whisper: str) -> None:
    described = LayerStatistics(whisper)
    clips = [speech_like("angry", seconds=0.5), speech_like("sad", seconds=0.9, seed=1)]
    found = described.extract(clips)["input_features"].view(2, len(LAYERS), 16)
    frames = described.extractor.extract(clips[:1])["input_features"][0].view(-1, len(LAYERS), 8)
    torch.testing.assert_close(found[0, :, :8], frames.mean(dim=0), atol=1e-5, rtol=0)
    torch.testing.assert_close(found[0, 2, 8:], frames[:, 2].std(dim=0, correction=0), atol=1e-5, rtol=0)


def test_the_study_writes_a_page(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("reproduction.studies.transfer_study.read_clips", lambda *words: corpora(place=10, voice=10))
    monkeypatch.setattr("reproduction.studies.transfer_study.LayerStatistics", lambda encoder: None)
    folder = tmp_path / "new" / "transfer"
    rows = run_transfer_study(folder, corpora=PLACES, recipes=[PLAIN], tell=print)
    assert len(capsys.readouterr().out.splitlines()) == len(rows) == 15
    page = (folder / "README.md").read_text()
    for way in WAYS:
        figures = [f"{100 * row['ua']:.1f}" for row in rows if row["way"] == way.title]
        assert f"| {way.title} | {' | '.join(figures)} |" in page
    assert "{{" not in page and "\n\n\n" not in page
    with pytest.raises(ValueError, match="three corpora"):
        run_transfer_study(tmp_path, corpora=PLACES[:2])


def test_the_command_tells_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["transfer", "--help"])
    assert "--encoder" in capsys.readouterr().out
