"""Corpora from a shell: list, describe, check, folds, export, push."""

import argparse
import os
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub.utils import httpx  # its errors are those of a lost connection

from .audio_leaks import check_audio_disjoint
from .corpus_audit import Finding, audit_corpus
from .corpus_checks import CountWarning, SpeakerWarning
from .corpus_export import export_corpus
from .corpus_push import push_corpus
from .corpus_report import describe_corpus
from .fold_files import save_fold
from .folds import SCHEMES, speaker_folds
from .recording_labels import as_in_corpus
from .registry import CORPORA, load_corpus, make_builder


def main(argv: Sequence[str] | None = None, prog: str = "python -m dataset_scripts") -> int:
    """Run a command.

    >>> main(["folds", "no-corpus", "--output", "folds"])
    2
    """
    args = build_parser(prog).parse_args(argv)
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        warnings.simplefilter("always", UserWarning)
        try:
            return args.run(args) or 0
        except (ValueError, OSError, httpx.HTTPError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2


def build_parser(prog: str) -> argparse.ArgumentParser:
    """Make the parser of all commands."""
    parser = argparse.ArgumentParser(prog=prog, description="Corpora of emotional speech.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, run: Any, text: str, copies: bool = False) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        if name != "list":
            also = "; or a copy: ./folder, or user/name on the Hub" if copies else ""
            sub.add_argument("corpus", help=f"{', '.join(CORPORA)}{also}")
            sub.add_argument("--data_dir", "--data-dir", help="folder of the corpus (default: its usual place)")
            sub.add_argument("--config", help="configuration of the corpus")
            sub.add_argument("--cache_dir", "--cache-dir", help="folder for what is built")
            sub.add_argument(
                "--speaker_pattern", "--speaker-pattern", help="recordings: regular expression with a group 'speaker'"
            )
        return sub

    command("list", _list, "list the corpora that can be read")
    sub = command("describe", _describe, "count classes, speakers and lengths", copies=True)
    sub.add_argument("--markdown", action="store_true", help="write Markdown, for a data set card")
    sub = command("check", _check, "decode every clip and compare the corpus with what is published of it")
    sub.add_argument("--threads", type=int, default=os.cpu_count(), help="files decoded at a time")
    sub = command("folds", _folds, "make speaker-disjoint folds and save them as JSONL files", copies=True)
    sub.add_argument("--scheme", choices=SCHEMES, default=SCHEMES[0], help="how speakers are divided")
    sub.add_argument("--k", "--num_folds", "--num-folds", type=int, help="number of folds of k-fold")
    sub.add_argument("--seed", type=int, default=0, help="which of equally good divisions k-fold takes")
    sub.add_argument("--labels", nargs="+", help="emotions to keep (default: all)")
    sub.add_argument("--output", required=True, help="folder for the files")
    sub = command("export", _export, "write Parquet files with the audio in them, and a data set card")
    sub.add_argument("folder", help="folder to make")
    sub.add_argument("--shard_megabytes", "--shard-megabytes", type=int, default=256, help="audio in one file")
    sub = command("push", _push, "put a corpus on the Hub, where its licence allows that")
    sub.add_argument("repo_id", help="the data set, user/name")
    sub.add_argument("--public", action="store_true", help="let everyone see it")
    sub.add_argument(
        "--i_have_permission", "--i-have-permission", action="store_true", help="its authors allowed this copy"
    )
    sub.add_argument("--shard_megabytes", "--shard-megabytes", type=int, default=256, help="audio in one file")
    return parser


def _list(args: argparse.Namespace) -> None:
    for name, corpus in CORPORA.items():
        clips = sum(corpus.published.values()) if corpus.published else "-"
        print(f"{name:<16}{clips:>6}  {corpus.language or '-':<6} {corpus.title} ({corpus.license})")


def _describe(args: argparse.Namespace) -> None:
    rows = load_corpus(args.corpus, *_place(args), **_options(args))
    report = describe_corpus(rows)
    title = rows.info.description.split(". ")[0]
    traps = CORPORA[args.corpus].traps if args.corpus in CORPORA else ()
    if args.markdown:
        print(f"## {title}\n\n{report.as_markdown()}")
    else:
        print(f"{title} ({rows.info.license})\n\n{report.as_text()}")
    if traps:
        print("\nKnown oddities:\n" + ("\n" if args.markdown else "") + "\n".join(f"- {trap}" for trap in traps))


def _check(args: argparse.Namespace) -> int:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        corpus = make_builder(args.corpus, *_place(args), **_options(args))
    findings = audit_corpus(corpus, args.threads)
    # What a builder says of the counts is among the findings, and of speakers too.
    told = (str(one.message) for one in caught if not issubclass(one.category, (CountWarning, SpeakerWarning)))
    findings += [Finding("builder", False, message) for message in told]
    for finding in findings:
        print(f"{'SERIOUS' if finding.serious else 'note':<8}{finding.kind:<11}{finding.message}")
    serious = sum(finding.serious for finding in findings)
    print(f"{corpus.title}: {len(corpus.clips)} clips decoded, {serious} serious finding(s)")
    return int(serious > 0)


def _folds(args: argparse.Namespace) -> None:
    rows = load_corpus(args.corpus, *_place(args), **_options(args))
    if args.labels:
        wanted = as_in_corpus(args.labels, rows.unique("label"))
        rows = rows.filter(lambda label: label in wanted, input_columns="label")
    folds = speaker_folds(rows, args.scheme, args.k, args.seed)
    check_audio_disjoint(folds, rows)
    folder = Path(args.output)
    folder.mkdir(parents=True, exist_ok=True)
    for fold, name in zip(folds, _file_names([fold.name for fold in folds]), strict=True):
        path = folder / f"{name}.jsonl"
        save_fold(fold, rows, path)
        sizes = ", ".join(f"{split} {len(ids)}" for split, ids in fold.splits.items())
        print(f"{path}: {sizes}")


def _file_names(names: Sequence[str]) -> list[str]:
    """Names of files for names of folds, which hold speakers' names: no path, and nothing that a system refuses."""
    safe = [re.sub(r"[^\w.+-]+", "_", name) for name in names]
    return [name if safe.count(name) == 1 else f"{name}-{number}" for number, name in enumerate(safe)]


def _export(args: argparse.Namespace) -> None:
    folder = export_corpus(
        args.corpus,
        args.folder,
        *_place(args),
        shard_megabytes=args.shard_megabytes,
        progress=_show_progress,
        **_options(args),
    )
    print(f'{folder}: load it with load_corpus("{folder}")')


def _push(args: argparse.Namespace) -> None:
    commit = push_corpus(
        args.corpus,
        args.repo_id,
        *_place(args),
        private=not args.public,
        i_have_permission=args.i_have_permission,
        shard_megabytes=args.shard_megabytes,
        progress=_show_progress,
        **_options(args),
    )
    print(f'{args.repo_id}: load it with load_corpus("{args.repo_id}@{commit}")')


def _place(args: argparse.Namespace) -> tuple[str | None, str | None, str | None]:
    return args.data_dir, args.config, args.cache_dir


def _options(args: argparse.Namespace) -> dict[str, str]:
    return {} if args.speaker_pattern is None else {"speaker_pattern": args.speaker_pattern}


def _show_progress(done: int, total: int) -> None:
    print(f"{done} of {total} clips", file=sys.stderr)


def _show_warning(message: Warning | str, *_: Any) -> None:
    print(f"warning: {message}", file=sys.stderr)
