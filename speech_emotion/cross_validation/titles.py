"""What systems are called in tables."""

from collections.abc import Iterable

# Of a system of others with fewer filters, cells or steps than the original.
REDUCED = " (reduced)"
REDUCED_NOTE = (
    "Reduced: of a size whose epochs take seconds on one core. Yenigalla's convolutions have 32 filters and move in "
    "steps of 4; in steps of 1 an epoch takes about forty times as long, which was more than 2 minutes on EmoDB where "
    "that was chosen (`python -m benchmarks.bench_compared_epochs`). Satt's network has sizes of ours."
)
# Of a system of which only the outline is known here.
READING = " (our reading)"
READING_NOTE = (
    "Our reading: of the paper only an outline was at hand; the docstrings say what is kept of it and what is ours."
)
PHONEMES_NOTE = (
    "On EmoDB every sentence is said in every emotion, so that phonemes can tell nothing there, and add nothing to a "
    "spectrogram."
)
TITLES = {
    "model-1": "Model-1 (acoustic)",
    "model-2": "Model-2 (linguistic)",
    "model-3": "Model-3 (fusion)",
    "model-3-late": "Model-3 (late fusion)",
    "opensmile-compare-svm": "openSMILE ComParE 2016 + SVM",
    "opensmile-egemaps-svm": "openSMILE eGeMAPS + SVM",
    "satt-2017": f"Satt et al. 2017{REDUCED}",
    "yenigalla-2018-spectrogram": f"Yenigalla et al. 2018, spectrogram{REDUCED}",
    "yenigalla-2018-phonemes": "Yenigalla et al. 2018, phonemes",
    "yenigalla-2018-combined": f"Yenigalla et al. 2018, combined{REDUCED}",
    "lee-2015": f"Lee and Tashev 2015{READING}",
    "lakomkin-2017": f"Lakomkin et al. 2017{READING}",
}
CONTROL, SHUFFLED = "permuted", "shuffled"
# What the name of a variant adds to that of its system.
VARIANTS = {
    "class-weights": "class weights",
    "oversampling": "oversampling",
    "focal": "focal loss",
    "ensemble": "downsampling + ensembling",
    "average": "average of 3 networks",
    "best": "best recipe",
    "functionals": "recipe with functionals",
    SHUFFLED: "DeepSpeech's weights shuffled (control)",
    CONTROL: "labels permuted (control)",
}


def compared_note(titles: Iterable[str]) -> str:
    """Return what is to be said of others' systems: which are smaller, of which little is known, which cannot work.

    >>> compared_note(["Model-1 (acoustic)"]), compared_note(["Satt et al. 2017 (reduced)"])[:8]
    ('', 'Reduced:')
    """
    told = list(titles)
    marks = {REDUCED: REDUCED_NOTE, READING: READING_NOTE, TITLES["yenigalla-2018-phonemes"]: PHONEMES_NOTE}
    return " ".join(note for mark, note in marks.items() if any(mark in title for title in told))


def system_title(name: str) -> str:
    """Return what a system is called in tables.

    >>> system_title("model-1-ensemble"), system_title("mine")
    ('Model-1 (acoustic), downsampling + ensembling', 'mine')
    """
    if name in TITLES:
        return TITLES[name]
    for suffix, words in VARIANTS.items():
        base = name.removesuffix(f"-{suffix}")
        if base != name and system_title(base) != base:
            return f"{system_title(base)}, {words}"
    return name


__all__ = ["CONTROL", "READING", "REDUCED", "SHUFFLED", "TITLES", "VARIANTS", "compared_note", "system_title"]
