"""Whether spec files are valid. Nothing of them is run, and no repository is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stratum_git.core.parse import load_spec
from stratum_git.errors import UserError
from stratum_git.git.files import read_bounded
from stratum_git.model.spec import Problem

LIMIT = 16 * 1024 * 1024
"""Bytes of a file that is given to a flow. A spec may be much smaller, and says so itself."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A file and what is wrong with it."""

    file: str
    problems: tuple[Problem, ...]


def validate(files: Sequence[Path]) -> tuple[Checked, ...]:
    """Returns the problems of each file. Nothing of them is run."""
    return tuple(Checked(str(path), load_spec(read_spec(path)).problems) for path in files)


def read_spec(path: Path) -> str:
    """Returns the text of a spec, byte for byte; raises UserError when it cannot be read."""
    try:
        return read_bounded(path, LIMIT).decode()
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
