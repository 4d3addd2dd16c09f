"""Answers of the verbs for programs, in the protocol's shapes."""

from __future__ import annotations

import json

from stratum_git.model.ids import Json

YES, NO, CONFLICT = 0, 1, 2


def answer(row: Json) -> int:
    """Prints an answer."""
    # Not as UTF-8: what agents said may have half a character in it, which no encoding takes.
    print(json.dumps(row, indent=2))
    return YES


def refuse(code: str, message: str) -> int:
    """Prints why there is no answer."""
    print(json.dumps({"error": {"code": code, "message": message}}))
    return NO


def conflict(flow: str, step: str, detail: str) -> int:
    """Prints that what was asked for does not fit what is."""
    print(json.dumps({"conflict": True, "flow_id": flow, "step_id": step, "detail": detail}))
    return CONFLICT
