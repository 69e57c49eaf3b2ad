"""What not everybody needs, and is installed by a word more: the extras."""

import importlib.util


def check_extra(extra: str, what: str, *packages: str) -> None:
    """Refuse what needs packages that are not installed; nothing is imported, so that it is told at once."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(
            f"{what} needs {', '.join(missing)}, not installed here: pip install 'modeling-ser[{extra}]'.",
            name=missing[0],
        )
