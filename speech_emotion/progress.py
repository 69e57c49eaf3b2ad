"""What a person sees while a command works: bars at a terminal, silence in logs and pipes, warnings in plain words."""

import sys
import warnings
from typing import Any


def is_terminal() -> bool:
    """Tell whether somebody watches: progress bars go to the standard error."""
    return sys.stderr.isatty()


def quiet_unless_terminal() -> None:
    """Switch off the bars of datasets, transformers and huggingface_hub where no terminal shows them."""
    if not is_terminal():
        # Imported late: commands ask for help, or find a mistake, before they need any of these.
        import datasets
        import huggingface_hub.utils
        import transformers

        datasets.disable_progress_bars()
        transformers.utils.logging.disable_progress_bar()
        huggingface_hub.utils.disable_progress_bars()


def plain_warnings() -> None:
    """Print warnings as people read them: what is the matter, without the line of code that found it."""

    def show(message: Warning | str, *args: Any, **kwargs: Any) -> None:
        print(f"warning: {message}", file=sys.stderr, flush=True)

    warnings.showwarning = show
