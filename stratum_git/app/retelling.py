"""Works out what ``query flow`` tells, out of git's files, where nobody has written it down yet."""

from __future__ import annotations

import json

from stratum_git.core.overview import overview
from stratum_git.git.unaided import Unaided
from stratum_git.model.state import FlowState
from stratum_git.store.contents import state_at
from stratum_git.store.told import remember_words


def retold(there: Unaided, tip: str) -> str:
    """Returns what is told of a flow whose last event is *tip*; raises Undecided and UnreadableError."""
    words = words_of(state_at(there, tip))
    remember_words(there.common_dir, tip, words)
    return words


def words_of(state: FlowState) -> str:
    """Returns what ``query flow`` prints, but for the end of the line."""
    return json.dumps(overview(state), indent=2)
