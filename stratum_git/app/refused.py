"""A call that cannot be fulfilled, in the protocol's words."""

from __future__ import annotations

from stratum_git.errors import UserError
from stratum_git.model.ids import Json


class Refused(UserError):  # noqa: N818 - reads as what happened
    """Nothing was changed. ``kind`` is the protocol's word for why, ``facts`` are further keys."""

    def __init__(self, kind: str, message: str, *, hint: Json = "", **facts: Json) -> None:
        super().__init__(message, hint=str(hint))
        self.kind = kind
        self.facts = facts
