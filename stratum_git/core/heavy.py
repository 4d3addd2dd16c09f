"""What few specs need of the standard library and takes a while to load: loaded when it is used."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import PurePosixPath


def posix_path(text: str) -> PurePosixPath:
    """Returns the path that a text is."""
    path: PurePosixPath = import_module("pathlib").PurePosixPath(text)
    return path


def close_matches(word: str, known: Iterable[str], most: int) -> list[str]:
    """Returns those of *known* that *word* may have been meant to be, the likeliest first, *most* of them."""
    found: list[str] = import_module("difflib").get_close_matches(word, known, most)
    return found
