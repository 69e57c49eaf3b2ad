"""Corpora from a shell: list, describe, check, folds, export, push. What a command needs is imported when it runs."""

import argparse
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from feature_extraction.safe_text import printable, printable_lines

from .fold_checks import SCHEMES
from .registry import CORPORA, load_corpus, make_builder


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:  # words may be names of files that a shell put there
        super().error(printable_lines(message))


def get_parser(prog: str = "python -m dataset_scripts") -> argparse.ArgumentParser:
    """Make the parser of all commands; the arguments it returns hold ``run``, which yields what is to be printed."""
    parser = _Parser(prog=prog, description="Corpora of emotional speech.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable[[argparse.Namespace], Iterator[str]], text: str, copies: bool = False
    ) -> argparse.ArgumentParser:
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
    export = command("export", _export, "write Parquet files with the audio in them, and a data set card")
    export.add_argument("folder", help="folder to make")
    push = command("push", _push, "put a corpus on the Hub, where its licence allows that")
    push.add_argument("repo_id", help="the data set, user/name")
    push.add_argument("--public", action="store_true", help="let everyone see it")
    push.add_argument(
        "--i_have_permission", "--i-have-permission", action="store_true", help="its authors allowed this copy"
    )
    for sub in (export, push):
        sub.add_argument(
            "--copy_outside",
            "--copy-outside",
            action="store_true",
            help="recordings: copy files from elsewhere, too",
        )
        sub.add_argument("--shard_megabytes", "--shard-megabytes", type=int, default=256, help="audio in one file")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``python -m dataset_scripts``: ``ser corpus`` without the rest of the library."""
    args = get_parser().parse_args(argv)
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: print(printable_lines(f"warning: {message}"), file=sys.stderr)
        warnings.simplefilter("always", UserWarning)
        try:
            for line in args.run(args):
                print(printable_lines(line), flush=True)
        except (ValueError, OSError) as error:
            print(printable_lines(f"error: {error}"), file=sys.stderr)
            return 1
    return 0


def _list(args: argparse.Namespace) -> Iterator[str]:
    for name, corpus in CORPORA.items():
        clips = sum(corpus.published.values()) if corpus.published else "-"
        yield f"{name:<16}{clips:>6}  {corpus.language or '-':<6} {corpus.title} ({corpus.license})"


def _describe(args: argparse.Namespace) -> Iterator[str]:
    rows = load_corpus(**_corpus(args))
    from .corpus_report import describe_corpus

    report = describe_corpus(rows)
    title = rows.info.description.split(". ")[0]
    traps = CORPORA[args.corpus].traps if args.corpus in CORPORA else ()
    if args.markdown:
        yield f"## {title}\n\n{report.as_markdown()}"
    else:
        yield f"{title} ({rows.info.license})\n\n{report.as_text()}"
    if traps:
        yield "\nKnown oddities:\n" + ("\n" if args.markdown else "") + "\n".join(f"- {trap}" for trap in traps)


def _check(args: argparse.Namespace) -> Iterator[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        corpus = make_builder(**_corpus(args))
    from .corpus_audit import Finding, audit_corpus
    from .corpus_base import AuditedWarning

    findings = audit_corpus(corpus, args.threads)
    told = (one for one in caught if one.category is not AuditedWarning)
    findings += [Finding("builder", False, str(one.message)) for one in told]
    for finding in findings:
        yield f"{'SERIOUS' if finding.serious else 'note':<8}{finding.kind:<11}{printable(finding.message)}"
    serious = sum(finding.serious for finding in findings)
    verdict = f"{corpus.title}: {len(corpus.clips)} clips decoded, {serious} serious finding(s)"
    if serious:  # so that the command's exit code tells it
        raise ValueError(verdict)
    yield verdict


def _folds(args: argparse.Namespace) -> Iterator[str]:
    rows = load_corpus(**_corpus(args))
    from .audio_leaks import check_audio_disjoint
    from .fold_files import save_fold
    from .folds import speaker_folds
    from .names import as_in_corpus

    if args.labels:
        wanted = as_in_corpus(args.labels, rows.unique("label"))
        rows = rows.select([index for index, label in enumerate(rows["label"]) if label in wanted])
    folds = speaker_folds(rows, args.scheme, args.k, args.seed)
    check_audio_disjoint(folds, rows)
    folder = Path(args.output)
    folder.mkdir(parents=True, exist_ok=True)
    # The names of folds hold those of speakers: here they name no path, and nothing that a system refuses.
    names = [re.sub(r"[^\w.+-]+", "_", fold.name) for fold in folds]
    for number, (fold, name) in enumerate(zip(folds, names, strict=True)):
        path = folder / f"{name if names.count(name) == 1 else f'{name}-{number}'}.jsonl"
        save_fold(fold, rows, path)
        yield f"{path}: " + ", ".join(f"{split} {len(ids)}" for split, ids in fold.splits.items())


def _export(args: argparse.Namespace) -> Iterator[str]:
    from .corpus_export import export_corpus

    folder = export_corpus(
        folder=args.folder,
        shard_megabytes=args.shard_megabytes,
        progress=_show_progress,
        copy_outside=args.copy_outside,
        **_corpus(args),
    )
    yield f'{folder}: load it with load_corpus("{folder}")'


def _push(args: argparse.Namespace) -> Iterator[str]:
    from .corpus_export import push_corpus

    commit = push_corpus(
        repo_id=args.repo_id,
        private=not args.public,
        i_have_permission=args.i_have_permission,
        shard_megabytes=args.shard_megabytes,
        progress=_show_progress,
        copy_outside=args.copy_outside,
        **_corpus(args),
    )
    yield f'{args.repo_id}: load it with load_corpus("{args.repo_id}@{commit}")'


def _corpus(args: argparse.Namespace) -> dict[str, Any]:
    """Which corpus is meant, as ``load_corpus`` takes it."""
    options = {} if args.speaker_pattern is None else {"speaker_pattern": args.speaker_pattern}
    place = {"data_dir": args.data_dir, "config": args.config, "cache_dir": args.cache_dir}
    return {"name": args.corpus, **place, **options}


def _show_progress(done: int, total: int) -> None:
    print(f"{done} of {total} clips", file=sys.stderr)
