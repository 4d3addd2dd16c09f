"""Tells what ``query`` asks most, without git and without what the rest of the program is made of.

What it says is what the verb would; where that is not certain, it says nothing and the verb does
(``tests/surface/test_telling.py``).
"""

from __future__ import annotations

import json
import os

from stratum_git.app.briefs import flow_rows, gate_rows, session_rows
from stratum_git.errors import StratumError
from stratum_git.git.unaided import Unaided, unaided_at
from stratum_git.git.whereabouts import Undecided
from stratum_git.store.headers import PREFIX, every_flow, is_id, open_flows, reader_of
from stratum_git.store.told import known_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

LISTS = {
    "flows": (every_flow, flow_rows),
    "gates": (open_flows, gate_rows),
    "sessions": (every_flow, session_rows),
}


def told(arguments: Sequence[str]) -> str | None:
    """Returns what is to be printed for ``query`` with these *arguments*; ``None`` where the verb is to."""
    words = [word for word in arguments if word != "--json"]
    try:
        match words:
            case ["flow", name] if is_id(name):
                return _flow(unaided_at(os.getcwd()), name)
            case [kind] if kind in LISTS:
                return _list(unaided_at(os.getcwd()), kind)
            case _:
                return None
    except (Undecided, StratumError, OSError, ValueError, RecursionError):
        return None


def _list(there: Unaided, kind: str) -> str | None:
    listed, rows = LISTS[kind]
    found = listed(there.common_dir, reader_of(there))
    if found is None or found.remarks:
        # What cannot be read is told by whoever knows why.
        return None
    # As ``protocol.answer`` prints it.
    return json.dumps(rows(found), indent=2) + "\n"


def _flow(there: Unaided, name: str) -> str | None:
    tip = there.ref(PREFIX + name)
    if tip is None:
        return None
    said = known_words(there.common_dir, tip)
    if said is None:
        # It takes the spec's language, and no more.
        from stratum_git.app.retelling import retold

        said = retold(there, tip)
    return f"{said}\n"
