"""`adapt`: statistics of clips without labels in place of the training's, and clips that are refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import WhisperConfig

from feature_extraction import SERFeatureExtractor
from modeling_ser import SEREnsembleForAudioClassification, SERForAudioClassification, SERModel, SERPipeline
from modeling_ser.feature_statistics import AdaptationError, answers
from tests.modeling_ser.small_models import small_config
from tests.modeling_ser.small_pipeline import CLIPS, by_label, small_classifier, write_clips
from tests.subprocess_tools import offline_environment, run_python_json
from tests.synthetic import speech_like

EMOTIONS = ("angry", "sad", "fearful", "neutral")
OWN = [speech_like(EMOTIONS[number % 4], seconds=0.2 + 0.05 * number, seed=number) for number in range(12)]


def decided(scale: float = 200.0) -> tuple[SERForAudioClassification, SERFeatureExtractor]:
    """Make a classifier that gives different clips different answers."""
    model, extractor = small_classifier()
    with torch.no_grad():
        model.classifier.out_proj.weight.mul_(scale)
        model.classifier.out_proj.bias.zero_()
        features = extractor(OWN, sampling_rate=16000, padding=True, return_tensors="pt")
        model.classifier.out_proj.bias.sub_(model(**features).logits.mean(dim=0))
    return model, extractor


@pytest.fixture
def classifier() -> SERPipeline:
    model, extractor = decided()
    model.config.temperature = 1.5
    return model.as_pipeline(extractor, top_k=2)


def test_statistics_are_those_of_all_frames_with_a_share_of_the_former(classifier: SERPipeline) -> None:
    before = {name: value.clone() for name, value in classifier.model.state_dict().items()}
    frames = np.concatenate([classifier.feature_extractor.extract([one])["input_features"][0] for one in OWN])
    frames, share = frames.astype(np.float64), 12 / (12 + 8)
    mean, std = before["ser.feature_mean"].numpy(), before["ser.feature_std"].numpy()
    adapted = classifier.adapt(OWN)
    body = adapted.model.ser
    np.testing.assert_allclose(body.feature_mean, share * frames.mean(axis=0) + (1 - share) * mean, rtol=1e-5)
    variance = share * frames.var(axis=0) + (1 - share) * std**2
    np.testing.assert_allclose(body.feature_std, np.sqrt(variance), rtol=1e-5)
    # Nothing else is another, and the pipeline that was asked is as it was.
    after = adapted.model.state_dict()
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert changed == ["ser.feature_mean", "ser.feature_std"]
    assert all(torch.equal(before[name], value) for name, value in classifier.model.state_dict().items())
    counts = [one.model.config.adapted_clips for one in (classifier, adapted)]
    assert (counts, adapted.model.config.temperature) == ([0, 12], 1.5)
    assert len(adapted(OWN[0])) == 2 and adapted(OWN[0]) != classifier(OWN[0])


def test_batches_iterators_and_kinds_of_clips_make_no_difference(classifier: SERPipeline, tmp_path: Path) -> None:
    paths = write_clips(tmp_path)
    expected = classifier.adapt([CLIPS[path.stem] for path in paths] * 3)(OWN[1], top_k=None)
    for size in (1, 4, 64):
        one = SERPipeline(
            model=classifier.model, feature_extractor=classifier.feature_extractor, batch_size=size, top_k=None
        )
        assert by_label(one.adapt(str(path) for path in paths * 3)(OWN[1])) == pytest.approx(
            by_label(expected), abs=1e-6
        )
    assert by_label(classifier.adapt(np.array([str(path) for path in paths * 3]))(OWN[1], top_k=None)) == (
        pytest.approx(by_label(expected), abs=1e-6)
    )


def test_adapted_again_the_place_counts_as_the_training_did(classifier: SERPipeline) -> None:
    place = classifier.adapt(OWN)
    speaker = place.adapt(OWN[:8])
    own = classifier.adapt(OWN[:8]).model.ser.feature_mean * 2 - classifier.model.ser.feature_mean
    torch.testing.assert_close(speaker.model.ser.feature_mean, (own + place.model.ser.feature_mean) / 2)
    assert speaker.model.config.adapted_clips == 8


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        ([], "0 clips are too few to adapt to: 8 are needed"),
        (OWN[:7], "7 clips are too few"),
        ([OWN[0]] * 9, r"These 9 clips seem to be of one emotion only \(the model tells 1.00 kinds apart"),
    ],
    ids=["none", "few", "one emotion"],
)
def test_clips_that_would_do_harm_are_refused(classifier: SERPipeline, clips: list, message: str) -> None:
    with pytest.raises(AdaptationError, match=message):
        classifier.adapt(clips)
    if len(clips) < 8:
        with pytest.raises(AdaptationError, match=message):
            classifier.adapt(clips, check=False)
    else:
        assert classifier.adapt(clips, check=False).model.config.adapted_clips == 9


def test_a_bias_towards_one_label_is_no_reason_to_refuse(classifier: SERPipeline) -> None:
    with torch.no_grad():
        features = classifier.feature_extractor(OWN, sampling_rate=16000, padding=True, return_tensors="pt")
        logits = classifier.model(**features).logits
        for share in (0.2, 0.4, 0.6, 0.8):
            classifier.model.classifier.out_proj.bias[0] += share * (logits.max() - logits[:, 0].min())
            found = answers(classifier.model(**features).logits / 1.5)
            if found < 1.5:
                break
            assert classifier.adapt(OWN).model.config.adapted_clips == 12
    assert share > 0.2


@pytest.mark.parametrize("clip", ["speech.wav", Path("speech.wav"), b"RIFF", OWN[0], {"array": OWN[0]}], ids=type)
def test_a_single_clip_is_no_list_of_clips(classifier: SERPipeline, clip: object) -> None:
    with pytest.raises(ValueError, match="several clips"):
        classifier.adapt(clip)


def test_answers_are_counted() -> None:
    certain = torch.eye(4) * 99
    assert answers(certain) == pytest.approx(4)
    assert answers(certain[[0, 0, 1, 1]]) == pytest.approx(2)
    assert answers(certain[:1].repeat(5, 1)) == answers(torch.zeros(5, 4)) == 1.0


def test_every_member_of_an_ensemble_is_adapted_from_its_own_statistics() -> None:
    (first, extractor), (second, _) = decided(), decided()
    second.ser.set_normalization(first.ser.feature_mean * 1.1, first.ser.feature_std * 1.2)
    adapted = SEREnsembleForAudioClassification.from_members([first, second]).as_pipeline(extractor).adapt(OWN)
    for member, alone in zip(adapted.model.members, (first, second), strict=True):
        expected = alone.as_pipeline(extractor).adapt(OWN).model.ser
        torch.testing.assert_close(member.ser.feature_mean, expected.feature_mean)
        torch.testing.assert_close(member.ser.feature_std, expected.feature_std)


def test_frames_are_those_that_an_encoder_of_the_models_own_gives() -> None:
    sizes = {"d_model": 8, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 8, "num_mel_bins": 6}
    whisper = WhisperConfig(**sizes, max_source_positions=20).to_diff_dict() | {"model_type": "whisper"}
    torch.manual_seed(0)
    model = SERModel(small_config(input_size=16, encoder_config=whisper, encoder_layers=[1, 2])).eval()
    features, mask = torch.randn(2, 12, 6), torch.tensor([[1] * 12, [1] * 8 + [0] * 4])
    with torch.no_grad():
        long, short = model.clip_frames(features, mask)
        alone = model.clip_frames(features[1:, :8])
    assert (long.shape, short.shape) == ((6, 16), (4, 16))
    torch.testing.assert_close(short, alone[0], atol=1e-5, rtol=0)


def test_an_adapted_model_is_saved_and_adapts_where_only_its_copy_is(tmp_path: Path) -> None:
    model, extractor = decided()
    classifier = model.as_pipeline(extractor)
    classifier.save_pretrained(tmp_path / "saved")
    paths = [str(path) for path in write_clips(tmp_path)]
    adapted = classifier.adapt(paths * 2)
    adapted.save_pretrained(tmp_path / "adapted")
    program = f"""
        import json
        from transformers import pipeline
        make = lambda name: pipeline("audio-classification", model=name, trust_remote_code=True)
        loaded, again = make("adapted"), make("saved").adapt({paths!r} * 2)
        print(json.dumps([[one({paths!r}), one.model.config.adapted_clips] for one in (loaded, again)]))
    """
    for scores, clips in run_python_json(program, env=offline_environment(tmp_path / "home"), cwd=tmp_path):
        assert clips == 10
        for path, of_clip in zip(paths, scores, strict=True):
            assert by_label(of_clip) == pytest.approx(by_label(adapted(path)), abs=1e-5)
