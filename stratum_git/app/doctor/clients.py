"""The clients on PATH: which there are, in which version, and whether somebody is logged in.

A client is asked as its user would, in a folder where no project has settings; no model is asked anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from stratum_git.agents.brief import Heard, hear
from stratum_git.app.doctor.finding import Finding, found_on_path
from stratum_git.app.surroundings import Surroundings
from stratum_git.errors import StratumError
from stratum_git.git.repository import Repository

PATIENCE = 5.0
"""Seconds that a client has for one answer; on a machine that is not busy it takes well under one."""
NOWHERE = Path("/")
QUIET = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
}
KEYS: Mapping[str, tuple[str, ...]] = {
    "claude": ("ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"),
    "codex": ("CODEX_API_KEY",),
    "opencode": ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "OPENROUTER_API_KEY"),
}
"""Variables by which a client gets along without a login."""
LOGIN = {"claude": "claude auth login", "codex": "codex login", "opencode": "opencode auth login"}
CLIENTS = tuple(LOGIN)
SLOW = ("opencode",)
"""Clients that take a second of a processor, or several, to say their version: their package says it, too."""


def client(name: str, around: Surroundings, repo: Repository | None) -> Iterator[Finding]:
    """Says of one client whether it is there, works, and can reach its model."""
    path = found_on_path(name, around.environment, repo)
    if path is None:
        yield Finding(f"client {name}", "ok", "not on PATH")
        return
    known = _packaged(path) if name in SLOW else None
    if known is not None:
        yield Finding(f"client {name}", "ok", f"{known} at {path}")
        return
    said = _ask(path, ("--version",), around)
    if said is None or said.late or said.code != 0:
        why = "cannot be started" if said is None else said.words or f"ended with {said.code}"
        if said is not None and said.late:
            # It may be its first start, or a busy machine: that is nothing to mend.
            yield Finding(
                f"client {name}", "ok", f"at {path}; it did not tell its version within {PATIENCE:g} s"
            )
            return
        yield Finding(f"client {name}", "warn", f"{path}: {why}", "", f"{path} --version")
        return
    yield Finding(f"client {name}", "ok", f"{_version(said)} at {path}")


def login(name: str, around: Surroundings, repo: Repository | None) -> Iterator[Finding]:
    """Says of one client whether somebody is logged in, as far as that can be told without a model."""
    path = found_on_path(name, around.environment, repo)
    if path is None:
        return
    check, fix = f"login of {name}", LOGIN[name]
    key = next((one for one in KEYS[name] if around.environment.get(one)), None)
    if name != "claude" and key is not None:
        yield Finding(check, "ok", f"by {key}")
        return
    known = {"claude": _claude, "codex": _codex, "opencode": _opencode}[name](path, around)
    if known is None:
        yield Finding(check, "ok", "could not be told; it did not answer in time")
    elif known[0]:
        yield Finding(check, "ok", known[1])
    else:
        yield Finding(check, "warn", known[1], f"log in, or set {KEYS[name][0]}", fix)


def _claude(path: Path, around: Surroundings) -> tuple[bool, str] | None:
    said = _ask(path, ("auth", "status"), around)
    if said is None or said.late:
        return None
    try:
        row = json.loads(said.out)
    except ValueError:
        # Versions before 2.1 have no such word.
        return None
    if not isinstance(row, dict):
        return None
    how = row.get("apiKeySource") or row.get("authMethod")
    return (True, f"by {how}") if row.get("loggedIn") is True else (False, "nobody is logged in")


def _codex(path: Path, around: Surroundings) -> tuple[bool, str] | None:
    said = _ask(path, ("login", "status"), around)
    if said is None or said.late:
        return None
    lines = (said.out + b"\n" + said.err).decode("utf-8", "replace").splitlines()
    told = next((line.strip() for line in lines if "ogged in" in line), "nobody is logged in")
    return said.code == 0, told


def _opencode(path: Path, around: Surroundings) -> tuple[bool, str] | None:
    # `opencode auth list` reads this file, takes seconds for it, and makes a database on the way.
    del path
    home = Path(around.environment.get("HOME") or "/")
    file = Path(around.environment.get("XDG_DATA_HOME") or home / ".local/share") / "opencode" / "auth.json"
    try:
        row = json.loads(file.read_bytes())
    except FileNotFoundError:
        row = {}
    except (OSError, ValueError):
        return None
    return (True, f"with {', '.join(sorted(row))}") if row else (False, "no provider has credentials")


def _ask(path: Path, words: tuple[str, ...], around: Surroundings) -> Heard | None:
    environment = {**around.environment, **QUIET}
    try:
        return hear((str(path), *words), cwd=NOWHERE, environment=environment, seconds=PATIENCE)
    except StratumError:
        return None


def _packaged(path: Path) -> str | None:
    """Returns the version that the package of a program has, where it is of one."""
    for folder in path.resolve().parents[:2]:
        try:
            row = json.loads((folder / "package.json").read_bytes())
        except (OSError, ValueError):
            continue
        if (
            isinstance(row, dict)
            and path.name in str(row.get("name"))
            and isinstance(row.get("version"), str)
        ):
            return str(row["version"])[:100]
    return None


def _version(said: Heard) -> str:
    lines = said.out.decode("utf-8", "replace").splitlines()
    return next((line.strip()[:100] for line in lines if any(c.isdigit() for c in line)), "a version unknown")
