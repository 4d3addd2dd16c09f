"""What a check came to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from stratum_git.git.repository import Repository
from stratum_git.model.ids import Json

Verdict: TypeAlias = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check came to. ``hint`` says in words what to do, ``fix`` is a command that does it."""

    check: str
    verdict: Verdict
    detail: str
    hint: str = ""
    fix: str = ""

    def row(self) -> dict[str, Json]:
        """Returns it as JSON."""
        return {
            "check": self.check,
            "verdict": self.verdict,
            "detail": self.detail,
            "hint": self.hint,
            "fix": self.fix,
        }


def found_on_path(name: str, environment: Mapping[str, str], repo: Repository | None) -> Path | None:
    """Returns a program on PATH, but for folders that a repository could bring: relative, or inside of it."""
    for part in environment.get("PATH", os.defpath).split(os.pathsep):
        folder = Path(part)
        if not folder.is_absolute() or (repo is not None and folder.resolve().is_relative_to(repo.root)):
            continue
        path = folder / name
        if path.is_file() and os.access(path, os.X_OK):
            return path
    return None
