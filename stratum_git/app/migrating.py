"""Rewrites a spec file in another version of the language."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path

from stratum_git.app.checking import read_spec
from stratum_git.core.migrate import Migrated, Refused, migrate
from stratum_git.model.spec import Version


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A file's text as it is, and in another version."""

    path: Path
    before: str
    migrated: Migrated

    def diff(self) -> str:
        """Returns what changes, as a patch."""
        name = str(self.path)
        lines = unified_diff(_lines(self.before), _lines(self.migrated.text), name, name)
        return "".join(
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
        )


def rewrite(path: Path, to: Version) -> Rewritten | Refused:
    """Returns the text of a file in the version *to*, or why there is none. Nothing is written."""
    text = read_spec(path)
    found = migrate(text, to)
    return found if isinstance(found, Refused) else Rewritten(path, text, found)


def _lines(text: str) -> list[str]:
    # Only what is a line to a patch: str.splitlines knows more of them.
    return re.findall(r"[^\n]*\n|[^\n]+", text)
