"""The program itself, what it stands on, and git."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from stratum_git import __version__
from stratum_git.app.doctor.finding import Finding
from stratum_git.git.process import git_version, require_git

NEEDS = ("mcp", "trio", "filelock", "jsonschema", "PyYAML", "GitPython", "regex", "rich")
MCP = (2, 3), (3,)
"""The versions of the SDK that the server was written for: from the first, below the second."""
FEATURES: tuple[tuple[tuple[int, int], str], ...] = (
    ((2, 45), "read repositories whose refs are in reftables"),
)


def program() -> Iterator[Finding]:
    """Says which version runs, and with which libraries."""
    yield Finding("program", "ok", f"stratum-git {__version__}, Python {platform.python_version()}")
    missing = [name for name in NEEDS if _version(name) is None]
    if missing:
        fix = f"{sys.executable} -m pip install --upgrade stratum-git"
        yield Finding("libraries", "fail", f"not installed: {', '.join(missing)}", fix=fix)
    found = _version("mcp") or ""
    numbers = tuple(int(part) for part in found.split(".")[:2] if part.isdigit())
    if found and not MCP[0] <= numbers < MCP[1]:
        detail = f"mcp {found}, and the server is written for 2.3 up to 3"
        yield Finding("mcp SDK", "fail", detail, fix=f"{sys.executable} -m pip install 'mcp>=2.3,<3'")
    elif found:
        yield Finding("mcp SDK", "ok", f"mcp {found}")


def git() -> Iterator[Finding]:
    """Says which git there is, and what it cannot do yet."""
    require_git()
    have = git_version()
    yield Finding("git", "ok", f"git {'.'.join(map(str, have))}")
    lacking = [what for since, what in FEATURES if have[:2] < since]
    if lacking:
        yield Finding("git features", "ok", f"this git cannot {'; '.join(lacking)}")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
