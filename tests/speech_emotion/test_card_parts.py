"""What every card says."""

from dataclasses import replace

import pytest

from dataset_scripts.registry import CORPORA
from speech_emotion.training.card import model_card

from .test_card_results import report_of


@pytest.mark.parametrize(
    ("corpus", "license_id"),
    [
        ("crema_d", "odbl"),
        ("ravdess", "cc-by-nc-sa-4.0"),
        ("speechocean762", "cc-by-4.0"),
        ("tess", "cc-by-nc-nd-4.0"),
        ("emodb", "other"),
    ],
)
def test_the_hub_is_told_the_corpuss_license(corpus: str, license_id: str) -> None:
    report = replace(report_of(), corpus=corpus, corpus_license=CORPORA[corpus].license)
    assert model_card(report, "you/emotions").data.license == license_id
