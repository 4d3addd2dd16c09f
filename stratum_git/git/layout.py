"""Where a repository lies, read from its files alone: for whoever has no time to start git, or to load it.

What git would find in other ways (variables, a bare repository) is not found here; then there is none.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Literal, Self

from stratum_git.git import whereabouts
from stratum_git.model.values import dataclass


@dataclass(frozen=True, slots=True)
class Layout:
    """A checkout: its top, its own git directory, and the one that all checkouts share."""

    root: Path
    git_dir: Path
    common_dir: Path

    @classmethod
    def of(cls, found: whereabouts.Checkout) -> Self:
        """Returns one that was found."""
        return cls(Path(found.root), Path(found.git_dir), Path(found.common_dir))

    @property
    def object_format(self) -> Literal["sha1", "sha256"]:
        """Returns the kind of its object ids, which its settings have where it is not the usual one."""
        with suppress(OSError):
            text = (self.common_dir / "config").read_text(encoding="utf-8", errors="replace")
            if re.search(r"(?mi)^\s*objectformat\s*=\s*sha256\b", text):
                return "sha256"
        return "sha1"


def key_of(common_dir: Path) -> str:
    """Returns a name for folders: the checkout's name, and digits of the common directory's path."""
    return whereabouts.key_of(str(common_dir))
