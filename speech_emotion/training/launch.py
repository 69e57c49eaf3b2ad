"""Launches that would silently do something else than was asked for, and trainings that would overwrite each other."""

import json
import os
import shutil
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import filelock
from safetensors import SafetensorError, safe_open
from transformers import TrainingArguments

from .training_arguments import SERTrainingArguments

TORCHRUN_CPU = "torchrun --standalone --nproc_per_node 2 train.py --use_cpu true …"
ACCELERATE_CPU = (
    "accelerate launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no "
    "train.py --use_cpu true …"
)
LOCK_NAME = ".training.lock"


def check_launch(args: TrainingArguments, environ: Mapping[str, str] = os.environ) -> None:
    """Stop a launch whose processes would not train together."""
    if "WORLD_SIZE" not in environ and "ACCELERATE_USE_CPU" in environ and "MASTER_ADDR" in environ:
        raise RuntimeError(
            "`accelerate launch --cpu --num_processes N` starts a single process, whatever N says. "
            f"On CPUs use\n  {TORCHRUN_CPU}\nor\n  {ACCELERATE_CPU}\n"
            "or, for one process, python train.py."
        )
    launched = int(environ.get("WORLD_SIZE", "1"))
    if launched != args.world_size:
        raise RuntimeError(
            f"The launcher started {launched} processes, but each of them would train alone (it sees "
            f"{args.world_size}), into the same folder. Without GPUs pass --use_cpu true:\n  {TORCHRUN_CPU}"
        )
    if args.n_gpu > 1:
        raise RuntimeError(
            f"{args.n_gpu} GPUs in one process would be used by DataParallel, which normalizes each part of a batch "
            f"by itself. Use one process per GPU:\n  torchrun --standalone --nproc_per_node {args.n_gpu} train.py …\n"
            "or choose one GPU with CUDA_VISIBLE_DEVICES=0."
        )


@contextmanager
def sole_training(args: TrainingArguments) -> Iterator[None]:
    """Hold the output folder for one training at a time."""
    if args.process_index != 0:
        yield
        return
    folder = Path(args.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / LOCK_NAME)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise RuntimeError(
            f"Another training is writing into {folder}. Wait for it, or choose another --output_dir."
        ) from None
    try:
        yield
    finally:
        lock.release()  # the file stays: to remove it could take it from under the next holder


def find_checkpoint(output_dir: str | Path, resume: str | bool | None) -> Path | None:
    """Find the checkpoint to go on from."""
    whole = [path for path in _checkpoints(output_dir) if (path / "trainer_state.json").is_file()]
    if resume is None or resume is False:
        if whole:
            raise FileExistsError(
                f"{output_dir} holds checkpoints of another run. Go on with --resume_from_checkpoint true, start anew "
                "with --overwrite_output_dir true, or choose another --output_dir."
            )
        return None
    if resume is True:
        for path in reversed(whole):
            if (damaged := damaged_file(path)) is None:
                return path
            warnings.warn(f"{damaged} is damaged, so {path.name} is passed over: an older one is taken.", stacklevel=2)
        raise FileNotFoundError(f"{output_dir} holds no whole checkpoint to resume from.")
    if not (Path(resume) / "trainer_state.json").is_file():
        raise FileNotFoundError(f"{resume} is not a whole checkpoint: it has no trainer_state.json.")
    if (damaged := damaged_file(Path(resume))) is not None:
        raise ValueError(f"{damaged} is damaged; resume from an older checkpoint: --resume_from_checkpoint true does.")
    chosen = Path(resume)
    for path in whole:
        if _is_elsewhere_or_later(path, chosen):
            raise FileExistsError(
                f"{output_dir} holds {path.name}, which {chosen} did not come to. Remove it with "
                "--overwrite_output_dir true, or choose another --output_dir."
            )
    return chosen


def damaged_file(checkpoint: Path) -> Path | None:
    """Find a file of a checkpoint that was cut: a disk that filled up or lost its power leaves such."""
    for file in sorted(checkpoint.rglob("*")):
        try:
            if file.suffix == ".json":
                content = json.loads(file.read_text(encoding="utf-8"))
                whole = file.name != "trainer_state.json" or type(content.get("global_step")) is int
            elif file.suffix == ".safetensors":
                with safe_open(file, framework="numpy"):  # which holds its length against its header
                    whole = True
            else:
                whole = file.suffix not in (".pt", ".pth") or zipfile.is_zipfile(file)
        except (AttributeError, ValueError, SafetensorError):
            whole = False
        if not whole:
            return file
    return None


def prepare_folder(folder: Path, training: SERTrainingArguments) -> Path | None:
    """Find the checkpoint to resume from, on every process before the first may remove anything."""
    resumed = training.resume_from_checkpoint
    if training.overwrite_output_dir and resumed is not True:
        with training.main_process_first(local=False, desc="emptying the output folder"):
            if training.process_index == 0:
                for path in _checkpoints(folder):
                    if not resumed or _is_elsewhere_or_later(path, Path(resumed)):
                        shutil.rmtree(path)
        if not resumed:
            return None
    return find_checkpoint(folder, training.resume_from_checkpoint)


def _is_elsewhere_or_later(path: Path, chosen: Path) -> bool:
    """Whether a checkpoint is none that the chosen one came from: of another run's folder, or of a later step."""
    if path.resolve().parent != chosen.resolve().parent:
        return True
    step = json.loads((chosen / "trainer_state.json").read_text(encoding="utf-8"))["global_step"]
    return int(path.name.removeprefix("checkpoint-")) > step


def _checkpoints(output_dir: str | Path) -> list[Path]:
    """A run's checkpoints by step. A folder such as checkpoint-best, kept by hand, is none of its steps."""
    steps = {
        int(number): path
        for path in Path(output_dir).glob("checkpoint-*")
        if (number := path.name.removeprefix("checkpoint-")).isdecimal()
    }
    return [steps[step] for step in sorted(steps)]
