"""Which session of a client's was given which work: so that none is held up for the work of another one.

A server notes it when it hands tasks out, a hook reads it. It is a memory and no right: what counts for a
report are leases.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

VARIABLE = "CLAUDE_CODE_SESSION_ID"
"""The variable in which a server is told whose it is."""
FOLDER = "clients"
LONGEST = 100
BATCH, CLAIM = ".batch", ".claim"
TOLD = "told"
"""Beside the notes: of which tasks a session was told at its stop, as digests."""


def session_of(environment: Mapping[str, str]) -> str:
    """Returns the session of the client whose server this is; empty when there is none."""
    found = environment.get(VARIABLE, "")
    return found if _is_session(found) else ""


def note(state: Path, session: str, flow: str, kind: str) -> None:
    """Notes that a session was given work of a flow just now, below the folder *state* of its repository."""
    if not session:
        return
    folder = state / FOLDER / session
    # The server that cannot write this down has still handed the work out.
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(folder / f"{flow}{kind}", os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.utime(handle)
        finally:
            os.close(handle)
    except OSError:
        return


def folder_of(state: str, session: str) -> str | None:
    """Returns where it is noted what a session was given; ``None`` when it was given nothing."""
    if not _is_session(session):
        return None
    folder = os.path.join(state, FOLDER, session)
    return folder if os.path.isdir(folder) else None


def driven_by(state: str, session: str) -> frozenset[str]:
    """Returns the flows whose tasks were handed to a session, and to no other one since."""
    folder, top = folder_of(state, session), os.path.join(state, FOLDER)
    if folder is None:
        return frozenset()
    own = {name: _time(folder, name) for name in os.listdir(folder) if name.endswith(BATCH)}
    return frozenset(
        name.removesuffix(BATCH)
        for name, at in own.items()
        if not any(_time(os.path.join(top, other), name) > at for other in os.listdir(top))
    )


def notes_of(state: Path, flow: str) -> list[Path]:
    """Returns the notes about a flow, of all sessions."""
    top = state / FOLDER
    return [path for kind in (BATCH, CLAIM) for path in sorted(top.glob(f"*/{flow}{kind}"))]


def _is_session(name: str) -> bool:
    """Returns whether a session may be called *name*: a pattern takes longer to be made."""
    plain = name.replace("-", "").replace("_", "")
    return 0 < len(name) <= LONGEST and name.isascii() and name[0].isalnum() and plain.isalnum()


def _time(folder: str, name: str) -> int:
    try:
        return os.stat(os.path.join(folder, name)).st_mtime_ns
    except OSError:
        return 0
