"""SessionStart: a client is told what stands open here, so that it takes work up and begins none anew."""

from __future__ import annotations

import os

from stratum_git.app.hooks.asked import NOTHING, Answer
from stratum_git.app.hooks.glances import MEMORY
from stratum_git.app.hooks.tenants import standing_in
from stratum_git.git.files import read_bounded
from stratum_git.store.headers import OVER, seen_open

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stratum_git.app.hooks.asked import Asked, Ground
    from stratum_git.model.ids import Json
    from stratum_git.store.headers import Header

LONGEST = 9000
"""Characters; beyond ten thousand a client puts them into a file."""
FLOWS = 12
REMEMBERED = 5000
READ = 256 * 1024
WORDS = 120


def session_start(asked: Asked) -> Answer:
    """Tells of open flows, of gates, of work that was handed out, and what the project wants remembered."""
    ground = asked.ground
    if ground is None:
        return NOTHING
    # Whoever works at a task is not to take up the flow that it is of.
    here = standing_in(asked)
    is_worker = "STRATUM_FLOW" in asked.environment or (here is not None and not here.flow.startswith("-"))
    parts = [*(() if is_worker else _flows(ground)), *_memory(ground)]
    return Answer(out=_cut("\n".join(parts), LONGEST)) if parts else NOTHING


def _flows(ground: Ground) -> Iterator[str]:
    listing = ground.looks.flows(seen_open)
    headers = [header for header in listing.headers if header.status not in OVER]
    if not headers:
        return
    handed: dict[str, int] = {}
    for lease in ground.looks.leases().values():
        handed[lease.flow] = handed.get(lease.flow, 0) + 1
    sessions = sum(header.session is not None for header in headers)
    also = f" {sessions} of them are sessions: stratum_agent_continue goes on with one." if sessions else ""
    yield f"stratum-git: {len(headers)} flow(s) of this repository are not finished.{also}"
    for header in sorted(headers, key=lambda one: one.updated, reverse=True)[:FLOWS]:
        yield from _told(header, handed.get(header.flow, 0))
    if len(headers) > FLOWS:
        yield f"- and {len(headers) - FLOWS} more: `stratum-git query flows`"


def _told(header: Header, handed: int) -> Iterator[str]:
    if header.session is not None:
        yield from _session(header, header.session)
        return
    place = f"step {header.cursor} ({header.position} of {header.steps})" if header.cursor else "no step"
    yield f"- flow {header.flow} ({header.name}): {header.status}, {place}"
    if header.gate is not None:
        yield (
            f"  It waits for a gate. Ask the user; then stratum_gate_resolve, or "
            f"`stratum-git gate approve {header.flow} {header.cursor}` in a terminal."
        )
    if handed:
        yield f"  {handed} task(s) were handed out and are not reported; their work is kept in their places."
    if header.driver == "client" and header.gate is None:
        yield f'  Take it up with stratum_resume(flow_id="{header.flow}"), which tells the next call.'
    elif header.driver != "client":
        yield f"  If nobody runs it, `stratum-git resume {header.flow}` takes it up."


def _session(header: Header, row: Mapping[str, Json]) -> Iterator[str]:
    said = str(row.get("last") or row.get("prompt") or "")
    turns = f"{row.get('turns')} turn(s), the last one {row.get('turn_status')}"
    yield f"- session {header.flow} with agent {row.get('agent')}: {turns}: {_cut(said, WORDS)}"


def _memory(ground: Ground) -> Iterator[str]:
    # A worktree has it only where it is committed.
    for top in dict.fromkeys((ground.checkout.root, os.path.dirname(ground.checkout.common_dir))):
        try:
            text = read_bounded(os.path.join(top, MEMORY), READ).decode().strip()
        except (OSError, UnicodeDecodeError):
            continue
        if text:
            yield f"What the project wants remembered ({MEMORY}):\n{_cut(text, REMEMBERED)}"
            return


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 16].rstrip()} [... cut here]"
