"""PostToolUseFailure: tools that failed are noted beside the attempt, or the flow, that they were called for.

In a file and not as events: a session may fail hundreds of times, nothing follows from it, and history is for
ever.
"""

from __future__ import annotations

import json
import os

from stratum_git.app.clients import driven_by
from stratum_git.app.hooks.asked import NOTHING, names_secrets
from stratum_git.app.hooks.tenants import named_in, standing_in
from stratum_git.app.hooks.transcripts import sent_to
from stratum_git.dispatch.clock import now, stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from stratum_git.app.hooks.asked import Answer, Asked, Ground

FILE = "tools.log"
LONGEST = 64 * 1024
"""Bytes of such a file; what comes later is not noted."""
WORDS = 300


def post_tool_use_failure(asked: Asked) -> Answer:
    """Notes a failed tool; what a person interrupted did not fail."""
    ground = asked.ground
    if ground is None or asked.row.get("is_interrupt") is True or names_secrets(ground):
        return NOTHING
    line = " ".join(
        (
            stamp(now()),
            asked.text("tool_name") or "a tool",
            f"failed: {_short(asked.text('error'))}",
            f"<- {_short(json.dumps(asked.row.get('tool_input'), ensure_ascii=False))}",
        )
    )
    for folder in _folders(asked, ground):
        _append(folder, f"{line}\n")
    return NOTHING


def _folders(asked: Asked, ground: Ground) -> Iterator[str]:
    """Yields the folder of the attempt in whose slot the tool was to work, else those of flows it drives."""
    here = standing_in(asked)
    given = json.dumps(asked.row.get("tool_input"), ensure_ascii=False)
    found = named_in(ground, given) or (() if here is None else (here,)) or sent_to(asked, ground)
    attempts = [tenant.folder(ground) for tenant in found if not tenant.flow.startswith("-")]
    if found:
        yield from attempts
        return
    for flow in sorted(driven_by(ground.state, asked.session)):
        yield os.path.join(ground.state, "attempts", flow)


def _append(folder: str, line: str) -> None:
    # An attempt's folder is made by whoever hands it out; a flow's is the one above those.
    if not os.path.isdir(folder):
        return
    handle = os.open(
        os.path.join(folder, FILE), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600
    )
    with os.fdopen(handle, "a", encoding="utf-8", errors="replace") as file:
        if os.fstat(handle).st_size < LONGEST:
            file.write(line)


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= WORDS else f"{plain[:WORDS]}..."
