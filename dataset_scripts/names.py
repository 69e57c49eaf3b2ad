"""When two names are one: of speakers, sessions and emotions that people and file systems spell."""

import unicodedata


def spelled(name: str) -> str:
    r"""Write a name in one way: accents with their letters (NFC), as most systems do and macOS's tools do not.

    >>> len("Zoe\u0308"), len(spelled("Zoe\u0308"))
    (4, 3)
    """
    return unicodedata.normalize("NFC", name)


def name_key(name: str) -> str:
    """Return what is equal for two names that can only be meant for one: however they are spelled, cased and spaced.

    >>> name_key("Anna") == name_key(" anna "), name_key("Anna") == name_key("Anne")
    (True, False)
    """
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


__all__ = ["name_key", "spelled"]
