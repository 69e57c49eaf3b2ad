"""What to cite for a page of results: the corpus, and the systems that others published."""

from collections.abc import Iterable

from dataset_scripts.registry import CORPORA

OPENSMILE = (
    "Eyben, F., Wöllmer, M., & Schuller, B. (2010). openSMILE: The Munich versatile and fast open-source audio "
    "feature extractor. ACM Multimedia, 1459-1462"
)
YENIGALLA = (
    "Yenigalla, P., Kumar, A., Tripathi, S., Singh, C., Kar, S., & Vepa, J. (2018). Speech emotion recognition using "
    "spectrogram & phoneme embedding. Interspeech, 3688-3692"
)
# System → what to cite, in the order of the tables.
REFERENCES: dict[str, tuple[str, ...]] = {
    "opensmile-compare-svm": (
        OPENSMILE,
        "Schuller, B., et al. (2016). The Interspeech 2016 computational paralinguistics challenge: Deception, "
        "sincerity & native language. Interspeech, 2001-2005",
    ),
    "opensmile-egemaps-svm": (
        OPENSMILE,
        "Eyben, F., et al. (2016). The Geneva minimalistic acoustic parameter set (GeMAPS) for voice research and "
        "affective computing. IEEE Transactions on Affective Computing, 7(2), 190-202",
    ),
    "satt-2017": (
        "Satt, A., Rozenberg, S., & Hoory, R. (2017). Efficient emotion recognition from speech using deep learning "
        "on spectrograms. Interspeech, 1089-1093",
    ),
    "yenigalla-2018-spectrogram": (YENIGALLA,),
    "yenigalla-2018-phonemes": (YENIGALLA,),
    "yenigalla-2018-combined": (YENIGALLA,),
    "lee-2015": (
        "Lee, J., & Tashev, I. (2015). High-level feature representation using recurrent neural network for speech "
        "emotion recognition. Interspeech, 1537-1540",
    ),
    "lakomkin-2017": (
        "Lakomkin, E., Weber, C., Magg, S., & Wermter, S. (2017). Reusing neural speech representations for auditory "
        "emotion recognition. IJCNLP, 423-430",
    ),
}


def references(conditions: Iterable[str], systems: Iterable[str]) -> list[str]:
    """List what to cite.

    >>> [line[:8] for line in references(["ased-own"], ["model-1", "satt-2017"])]
    ['Retta, E', 'Satt, A.']
    """
    corpora = (CORPORA.get(name) or CORPORA.get(name.partition("-")[0]) for name in conditions)
    works = [corpus.citation.rstrip(".") for corpus in corpora if corpus is not None and corpus.citation]
    works += [work for name in systems for work in REFERENCES.get(name, ())]
    return list(dict.fromkeys(works))


__all__ = ["REFERENCES", "references"]
