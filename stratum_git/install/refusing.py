"""Why a file is left as it is: what is the matter with it, and what its owner can do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class Unusable(Exception):  # noqa: N818 - reads as what is the matter
    """A file cannot be edited; nothing is written then, neither to it nor to any other."""

    def __init__(self, why: str, hint: str, path: Path | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.hint = hint
        self.path = path


@dataclass(frozen=True, slots=True)
class Refusal:
    """A file for which an installation is refused."""

    path: Path
    why: str
    hint: str
