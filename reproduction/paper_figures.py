"""The tables of the paper, to stand beside ours."""

from collections.abc import Mapping

# Bhosale, Chakraborty and Kopparapu, ICASSP 2020 (paper 5598), slides: condition → system → WA, UA in percent.
# Claim 4, that downsampling + ensembling trades WA for UA, is what the table of improvised speech shows of Model-1; on
# both together Model-3 gains WA as well. Whether figures are pooled over folds, and how they spread, is not said.
PAPER: dict[str, dict[str, tuple[float, float]]] = {
    "iemocap-improvised": {
        "yenigalla-2018-spectrogram": (71.3, 61.6),
        "satt-2017": (68.8, 59.4),
        "lee-2015": (63.8, 62.85),
        "model-1": (72.08, 58.53),
        "model-1-ensemble": (70.05, 63.27),
        "model-2": (69.56, 54.62),
        "model-3": (72.34, 58.31),
    },
    "iemocap-scripted": {
        "model-1": (63.04, 52.73),
        "model-2": (68.56, 60.37),
        "model-3": (67.12, 59.02),
    },
    "iemocap-both": {
        "model-1": (70.82, 55.53),
        "model-2": (62.03, 51.96),
        "model-3": (65.05, 58.39),
        "model-3-ensemble": (68.11, 63.15),
    },
}


def published_figures(condition: str) -> Mapping[str, tuple[float, float]]:
    """Return WA and UA of each system in the paper's table of a condition.

    >>> published_figures("iemocap-scripted")["model-1"]
    (0.6304, 0.5273)
    """
    return {name: (round(wa / 100, 6), round(ua / 100, 6)) for name, (wa, ua) in PAPER.get(condition, {}).items()}


def published_difference(condition: str, first: str, second: str, metric: str) -> float | None:
    """Return a difference of two systems in the paper: first − second.

    >>> published_difference("iemocap-scripted", "model-2", "model-1", "ua")
    0.0764
    """
    figures, place = published_figures(condition), ("wa", "ua").index(metric)
    if first not in figures or second not in figures:
        return None
    return round(figures[first][place] - figures[second][place], 6)


__all__ = ["PAPER", "published_difference", "published_figures"]
