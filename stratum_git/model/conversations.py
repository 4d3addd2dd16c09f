"""A conversation of an agent that another attempt goes on with."""

from __future__ import annotations

from stratum_git.model.ids import Oid
from stratum_git.model.values import dataclass


@dataclass(frozen=True, slots=True)
class Conversation:
    """The conversation ``session``, which began at ``base`` and has left the files of ``result``.

    An attempt goes on with it from there: its base is ``base``, and the files lie in its slot uncommitted.
    ``followup`` is what to say, where that is not what was wrong with the attempt before.
    """

    session: str
    base: Oid
    result: Oid
    followup: str = ""
