"""What systems are called in tables."""

from collections.abc import Iterable

# Of a system of others with fewer filters, cells or steps than the original.
REDUCED = " (reduced)"
REDUCED_NOTE = (
    "Reduced: of a size whose epochs take seconds on one core. Yenigalla's convolutions move in steps of 4 where the "
    "paper's move in steps of 1, with which an epoch of EmoDB takes more than 2 minutes "
    "(`python -m benchmarks.bench_compared_epochs`); Satt's network has sizes of ours."
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
    "lee-2015": "Lee and Tashev 2015",
    "lakomkin-2017": "Lakomkin et al. 2017",
}
CONTROL = "permuted"
# What the name of a variant adds to that of its system.
VARIANTS = {
    "class-weights": "class weights",
    "oversampling": "oversampling",
    "focal": "focal loss",
    "ensemble": "downsampling + ensembling",
    "best": "best recipe",
    "functionals": "recipe with functionals",
    CONTROL: "labels permuted (control)",
}


def reduced_note(titles: Iterable[str]) -> str:
    """Return what is to be said of systems that are smaller than the original; empty if none of them is.

    Args:
        titles: Titles of systems.

    Returns:
        A sentence or nothing.

    Example:
        >>> reduced_note(["Model-1 (acoustic)"]), reduced_note(["Satt et al. 2017 (reduced)"])[:8]
        ('', 'Reduced:')
    """
    return REDUCED_NOTE if any(REDUCED in title for title in titles) else ""


def system_title(name: str) -> str:
    """Return what a system is called in tables.

    Args:
        name: Name of the system: one of `TITLES`, followed by any of `VARIANTS`.

    Returns:
        Its title; the name itself if it is no such name.

    Example:
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


__all__ = ["CONTROL", "REDUCED", "TITLES", "VARIANTS", "reduced_note", "system_title"]
