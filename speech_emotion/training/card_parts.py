"""What the cards of emotion models and of recognizers have in common."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

LIBRARY = "modeling-ser"
# Licences as the Hub names them; any other is "other", and the card's text says which.
HUB_LICENSES = {
    "CC BY 4.0": "cc-by-4.0",
    "CC BY-NC-SA 4.0": "cc-by-nc-sa-4.0",
    "CC BY-NC-ND 4.0": "cc-by-nc-nd-4.0",
    "Open Database License 1.0 (ODbL)": "odbl",
}


@dataclass(frozen=True)
class TrainingReport:
    """What there is to say of any training, whatever was learned.

    Args:
        corpus: Name of the corpus.
        title: Its title.
        homepage: Where it is published.
        corpus_license: Its licence, in words; what follows a semicolon is a remark.
        citation: How to cite it.
        language: Its language, as a BCP 47 tag, or `None`.
        fold: Name of the fold.
        seed: Seed of the training.
        epochs: Epochs trained.
        parameters: Parameters of the model.
        arguments: What the training was asked for.
        versions: Versions of the libraries.
    """

    corpus: str
    title: str
    homepage: str
    corpus_license: str
    citation: str
    language: str | None
    fold: str
    seed: int
    epochs: float
    parameters: int
    arguments: dict[str, object]
    versions: dict[str, str]


def fill_card(
    template: Path,
    report: TrainingReport,
    repo_id: str,
    revision: str | None,
    task: str,
    tag: str,
    results: list[EvalResult],
    **texts: Any,
) -> ModelCard:
    """Fill a card's template."""
    name = repo_id.split("/")[-1]
    base = report.arguments.get("model_name_or_path")  # whose corpora may bind these weights, too
    data = ModelCardData(
        language=report.language,
        license="other" if base else HUB_LICENSES.get(report.corpus_license.split(";")[0], "other"),
        base_model=base if "/" in str(base) else None,
        library_name="transformers",
        pipeline_tag=task,
        tags=[tag, LIBRARY, task],
        model_name=name,
        eval_results=results,
    )
    return ModelCard.from_template(
        data,
        template_path=str(template),
        model_name=name,
        repo_id=repo_id,
        revision=revision,
        corpus=report.title,
        homepage=report.homepage,
        corpus_license=report.corpus_license,
        fold=report.fold,
        seed=report.seed,
        epochs=f"{report.epochs:.0f}",
        parameters=f"{report.parameters:,}",
        versions=", ".join(f"{library} {version}" for library, version in report.versions.items()),
        citation=f"Cite the corpus: {report.citation}" if report.citation else "",
        **texts,
    )


__all__ = ["HUB_LICENSES", "LIBRARY", "TrainingReport", "fill_card"]
