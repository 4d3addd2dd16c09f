"""How the entries of a client name this program.

A file that is committed has to work for others, and a client may be started from anywhere: the bare name is
right where PATH has it by itself, and not because a virtual environment is active just now.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

NAME = "stratum-git"


@dataclass(frozen=True, slots=True)
class Program:
    """The words that start this program, and what is to be said about them; *given* by the user or found."""

    words: tuple[str, ...]
    remark: str = ""
    given: bool = False

    @property
    def is_portable(self) -> bool:
        """Returns whether it is the bare name."""
        return self.words == (NAME,)

    @property
    def shell(self) -> str:
        """Returns the words for a shell."""
        return shlex.join(self.words)


def program_of(environment: Mapping[str, str], given: str | None = None) -> Program:
    """Returns how to name this program; *given* is what the user wants it to be called."""
    if given is not None:
        return Program(tuple(shlex.split(given)) or (NAME,), given=True)
    path = environment.get("PATH", os.defpath)
    own = _own(path)
    found = shutil.which(
        NAME, path=os.pathsep.join(part for part in path.split(os.pathsep) if _is_plain(part))
    )
    if found is not None:
        if own is not None and own.resolve() != Path(found).resolve():
            remark = f"The entries run {found}, which PATH has first; this is {own}."
            return Program((NAME,), remark)
        return Program((NAME,))
    if own is None:
        words = (sys.executable, "-P", "-m", "stratum_git")
        return Program(words, f"{NAME} is not on PATH: the entries run it by {sys.executable}.")
    remark = f"{NAME} is only in a virtual environment: the entries name {own}, which others do not have. "
    remark += "`pipx install` or `uv tool install` puts it on PATH; then install once more."
    return Program((str(own),), remark)


def _own(path: str) -> Path | None:
    """Returns the script of this very program, where it has one."""
    beside = Path(sys.executable).with_name(NAME)
    if os.access(beside, os.X_OK):
        return beside
    found = shutil.which(NAME, path=path)
    return None if found is None else Path(found).absolute()


def _is_plain(part: str) -> bool:
    """Returns whether a folder of PATH is there in every terminal, as far as one can see."""
    return Path(part).is_absolute() and not (Path(part).parent / "pyvenv.cfg").exists()
