"""The shape of a parallel_dispatch step."""

from __future__ import annotations

from typing import cast, get_args

from stratum_git.core.shape_reader import Reader
from stratum_git.model.spec import (
    MOST_CANDIDATES,
    Candidate,
    Dispatch,
    Isolation,
    LandMode,
    LandOrder,
    Merge,
    OnConflict,
    OnQuorum,
    Require,
    Version,
)


def read_dispatch(reader: Reader, version: Version) -> Dispatch:
    """Returns how the tasks of a step are run and landed."""
    reader.require("source", "intent_template")
    return Dispatch(
        source=reader.text("source", "", least=1),
        intent_template=reader.text("intent_template", "", least=1),
        max_concurrent=reader.whole("max_concurrent", 3),
        isolation=cast("Isolation", reader.choice("isolation", get_args(Isolation), "worktree")),
        require=_require(reader),
        merge=_merge(reader, version),
        timeout=reader.number("timeout"),
        task_retries=reader.whole("task_retries", 0, least=0),
        verify=reader.commands("verify"),
        land_verify=reader.commands("land_verify"),
        setup=reader.commands("setup"),
        on_quorum=cast("OnQuorum", reader.choice("on_quorum", get_args(OnQuorum), "cancel")),
        on_conflict=cast("OnConflict", reader.choice("on_conflict", get_args(OnConflict), "park")),
        land_order=cast("LandOrder", reader.choice("land_order", get_args(LandOrder), "least_conflicts")),
        resolver=reader.text("resolver", None, least=1),
        candidates=_candidates(reader, version),
        base=reader.text("base", None, least=1),
        target=reader.text("target", None, least=1),
        task_contract=reader.text("task_contract", None, least=1),
        task_ensure=reader.texts("task_ensure"),
        land_mode=cast("LandMode", reader.choice("land_mode", get_args(LandMode), "speculative")),
        commit_message=reader.text("commit_message", None, least=1),
    )


def _candidates(reader: Reader, version: Version) -> tuple[Candidate, ...]:
    """Returns how often each task is done: as a number, or as a list of what each does otherwise."""
    if not reader.has("candidates"):
        return ()
    value = reader.fields["candidates"].value
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_CANDIDATES:
        return (Candidate(),) * value if value > 1 else ()
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_CANDIDATES:
        what = f"is neither a number nor a list of 1 to {MOST_CANDIDATES}"
        reader.wrong("candidates", what, "write candidates: 3, or [{agent: a}, {agent: b}]")
        return ()
    readers = [reader.inner(("candidates", place), node) for place, node in enumerate(value)]
    for one in readers:
        one.close({"agent": "0.4", "intent_template": "0.4"}, version)
    return tuple(
        Candidate(one.text("agent", None, least=1), one.text("intent_template", None, least=1))
        for one in readers
    )


def _merge(reader: Reader, version: Version) -> Merge:
    merge = cast("Merge", reader.choice("merge", get_args(Merge), "sequential_apply"))
    if merge in {"squash", "rebase"} and version < "0.4":
        reader.wrong(
            "merge", f"{merge} is of version 0.4, and the file is of {version}", 'write version: "0.4"'
        )
    return merge


def _require(reader: Reader) -> Require:
    value = reader.fields["require"].value if reader.has("require") else "all"
    if isinstance(value, str) and value in {"all", "any"}:
        return cast("Require", value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    reader.wrong("require", "is neither all nor any nor a number of at least 1", "write require: all")
    return "all"
