"""What a run was made with, and whether another is the same."""

import json
from collections.abc import Iterator, Mapping
from typing import Any


def switched_on(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is off, so that a switch added later does not make other settings of what was computed before.

    >>> switched_on({"dropout": 0.3, "tempo": 0.0, "class_weights": "none", "revision": None})
    {'dropout': 0.3}
    """
    return {name: value for name, value in settings.items() if value and value != "none"}


def differences(found: object, asked: object, name: str = "") -> Iterator[str]:
    """Say in words where two settings differ; what is missing is as `None`.

    >>> list(differences({"model": {"dropout": 0.1}}, {"model": {"dropout": 0.3}}))
    ['model.dropout is 0.1 there and 0.3 here']
    """
    if isinstance(found, Mapping) and isinstance(asked, Mapping):
        for key in dict.fromkeys([*found, *asked]):
            yield from differences(found.get(key), asked.get(key), f"{name}.{key}" if name else str(key))
    elif found != asked:
        yield f"{name or 'the settings'} is {json.dumps(found)} there and {json.dumps(asked)} here"
