"""The tables of the paper, to stand beside ours."""

from collections.abc import Mapping

from .claim_plan import read_claims


def published_figures(condition: str) -> Mapping[str, tuple[float, float]]:
    """Return WA and UA of each system in the paper's table of a condition."""
    return read_claims().published.get(condition, {})
