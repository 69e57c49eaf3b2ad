"""The card of a corpus on the Hub."""

import datasets
from huggingface_hub import DatasetCardData

from .corpus_base import SpeechCorpus
from .corpus_report import describe_corpus

TEXT = """\
# {title}

{description}

- Homepage: {homepage}
- Licence: {license}

{permission}

## What is in it

{report}

## Columns

`id`, `audio` (the bytes of the file as it was found, not decoded), `label` (the emotion, in one vocabulary for all
corpora), `label4` (anger, happiness, neutral, sadness, else empty), `native_label` (the corpus's own), `speaker`,
`sex` (f, m or empty), `sentence`, `transcript`, `kind`, `language`, `duration` (s), `file`{further}.

All clips are in one split, `train`: divide them by speaker. Figures from splits in which speakers recur are too high.

```python
from dataset_scripts import load_corpus, speaker_folds

rows = load_corpus("<user>/<name>")
fold = speaker_folds(rows, "k-fold", k=5)[0]
```
{traps}
## Citation

{citation}
"""
SHARED = "The licence allows copies to be shared under its terms."
OWN = "Whether copies may be shared is for those to say who were recorded and who recorded them."
NOT_SHARED = (
    "**This copy must not be passed on**: the licence does not allow it, or none is stated. It is for those who "
    "obtained the corpus from its authors."
)


def corpus_card(corpus: SpeechCorpus, rows: datasets.Dataset) -> str:
    """Write the card of a corpus."""
    data = DatasetCardData(
        language=corpus.language,
        license=corpus.license_id,
        license_name=None if corpus.license_id != "other" else f"{corpus.name}-licence",
        license_link=None if corpus.license_id != "other" else corpus.homepage or None,
        pretty_name=corpus.title,
        task_categories=["audio-classification" if rows.unique("label") != [None] else "automatic-speech-recognition"],
        size_categories=[_size(len(rows))],
        tags=["speech", "audio"]
        + (["emotion", "speech-emotion-recognition"] if rows.unique("label") != [None] else []),
        configs=[
            {"config_name": corpus.config.name, "data_files": [{"split": "train", "path": "data/train-*.parquet"}]}
        ],
    )
    further = ", ".join(f"`{name}`" for name in corpus.extra_features)
    traps = "\n".join(f"- {trap}" for trap in corpus.traps)
    text = TEXT.format(
        title=corpus.title,
        description=rows.info.description,
        homepage=corpus.homepage or "none",
        license=corpus.license,
        permission=OWN if corpus.name == "recordings" else SHARED if corpus.may_be_shared else NOT_SHARED,
        report=describe_corpus(rows).as_markdown(),
        further=f"; and {further}" if further else "",
        traps=f"\n## Known oddities\n\n{traps}\n" if traps else "",
        citation=corpus.citation or "None.",
    )
    return f"---\n{data.to_yaml()}\n---\n\n{text}"


def _size(clips: int) -> str:
    """Return the Hub's name for a number of rows."""
    for bound, name in ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K")):
        if clips < bound:
            return name
    return "100K<n<1M"
