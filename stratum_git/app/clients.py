"""Which session of a client's was given which work: so that none is held up for the work of another one.

A server notes it when it hands tasks out, a hook reads it. It is a memory and no right: what counts for a
report are leases.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

VARIABLE = "CLAUDE_CODE_SESSION_ID"
"""The variable in which a server is told whose it is."""
FOLDER = "clients"
SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
BATCH, CLAIM = ".batch", ".claim"
TOLD = "told"
"""Beside the notes: of which tasks a session was told at its stop, as digests."""


def session_of(environment: Mapping[str, str]) -> str:
    """Returns the session of the client whose server this is; empty when there is none."""
    found = environment.get(VARIABLE, "")
    return found if SESSION.fullmatch(found) else ""


def note(state: Path, session: str, flow: str, kind: str) -> None:
    """Notes that a session was given work of a flow just now, below the folder *state* of its repository."""
    if not session:
        return
    folder = state / FOLDER / session
    # The server that cannot write this down has still handed the work out.
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(folder / f"{flow}{kind}", os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.utime(handle)
        finally:
            os.close(handle)


def folder_of(state: Path, session: str) -> Path | None:
    """Returns where it is noted what a session was given; ``None`` when it was given nothing."""
    if not SESSION.fullmatch(session):
        return None
    folder = state / FOLDER / session
    return folder if folder.is_dir() else None


def driven_by(state: Path, session: str) -> frozenset[str]:
    """Returns the flows whose tasks were handed to a session, and to no other one since."""
    folder = folder_of(state, session)
    own = {} if folder is None else {path.name: _time(path) for path in folder.glob(f"*{BATCH}")}
    return frozenset(
        name.removesuffix(BATCH)
        for name, at in own.items()
        if not any(_time(other) > at for other in (state / FOLDER).glob(f"*/{name}"))
    )


def notes_of(state: Path, flow: str) -> list[Path]:
    """Returns the notes about a flow, of all sessions."""
    top = state / FOLDER
    return [path for kind in (BATCH, CLAIM) for path in sorted(top.glob(f"*/{flow}{kind}"))]


def _time(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
