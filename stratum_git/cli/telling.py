"""Tells what ``query`` asks most, without git and without what the rest of the program is made of.

What it says is what the verb would; where that is not certain, it says nothing and the verb does
(``tests/surface/test_telling.py``).
"""

from __future__ import annotations

import json
import os

from stratum_git.app.briefs import flow_rows, gate_rows, session_rows
from stratum_git.git.unaided import Unaided, Undecided, unaided_at
from stratum_git.store.headers import HEADER, STATE, every_flow, open_flows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from stratum_git.model.ids import Json, Oid

LISTS = {
    "flows": (every_flow, flow_rows),
    "gates": (open_flows, gate_rows),
    "sessions": (every_flow, session_rows),
}


def told(arguments: Sequence[str]) -> str | None:
    """Returns what is to be printed for ``query`` with these *arguments*; ``None`` where the verb is to."""
    arguments = [word for word in arguments if word != "--json"]
    if len(arguments) != 1 or arguments[0] not in LISTS:
        return None
    listed, rows = LISTS[arguments[0]]
    try:
        there = unaided_at(os.getcwd())
        found = listed(there.common_dir, lambda tips: _states(there, tips))
    except (Undecided, OSError, ValueError, RecursionError):
        return None
    if found is None or found.remarks:
        # What cannot be read is told by whoever knows why.
        return None
    return printed(rows(found))


def printed(row: Json) -> str:
    """Returns an answer as ``protocol.answer`` prints it."""
    return json.dumps(row, indent=2) + "\n"


def _states(there: Unaided, tips: Sequence[Oid]) -> list[bytes | None]:
    return [there.file(tip, STATE, HEADER) for tip in tips]
