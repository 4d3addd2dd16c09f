"""A store for objects that nobody is to keep: what only serves a look, and is thrown away with its folder.

Whatever git writes with :attr:`Scratch.env` lies there, and it reads the repository's objects as if they
were its own. No object gets into the repository, and none of it is flushed.
"""

from __future__ import annotations

import os
from pathlib import Path

from stratum_git.git.objects import ObjectWriter
from stratum_git.git.repository import Repository
from stratum_git.model.changing import replace
from stratum_git.model.values import dataclass


@dataclass(frozen=True, slots=True)
class Scratch:
    """A folder with objects of its own. ``writer`` writes there too."""

    repo: Repository
    folder: Path
    writer: ObjectWriter

    @property
    def env(self) -> dict[str, str]:
        """Returns what makes git write here."""
        return {"GIT_OBJECT_DIRECTORY": str(self.folder / "objects")}

    def env_with(self, stores: tuple[Path, ...]) -> dict[str, str]:
        """Returns what makes git write here, and read further folders of objects besides."""
        if not stores:
            return self.env
        return {**self.env, "GIT_ALTERNATE_OBJECT_DIRECTORIES": ":".join(map(quoted, stores))}


def make_scratch(repo: Repository, folder: Path) -> Scratch:
    """Makes a store in *folder*, which is there and is the caller's to delete."""
    info = folder / "objects" / "info"
    info.mkdir(parents=True, mode=0o700)
    (info / "alternates").write_bytes(os.fsencode(repo.common_dir / "objects") + b"\n")
    mine = replace(repo, common_dir=folder, shared_permissions=False)
    return Scratch(repo, folder, ObjectWriter(mine, durable=False))


def quoted(path: Path) -> str:
    """Returns a path as a list of them may have it, in which a colon would end it."""
    text = str(path)
    if ":" not in text and not text.startswith('"'):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
