"""What was resolved before and is remembered, and how to have it forgotten."""

from __future__ import annotations

from stratum_git.app.surroundings import Surroundings
from stratum_git.app.workshop import signature
from stratum_git.dispatch.clock import now
from stratum_git.errors import UserError
from stratum_git.git.objects import ObjectWriter, Signature
from stratum_git.git.tree_reader import TreeReader
from stratum_git.model.ids import Json
from stratum_git.store.resolutions import Resolution, Resolutions, Side


def remembered(around: Surroundings) -> list[dict[str, Json]]:
    """Returns every resolution that is remembered, oldest first: ``contracts/resolutions.v1.schema.json``."""
    repo = around.repository()
    with TreeReader(repo) as trees:
        return [_row(one) for one in Resolutions(repo, trees).every()]


def forget(around: Surroundings, name: str) -> list[dict[str, Json]]:
    """Forgets the resolutions of a path, or the one whose digest begins so; raises UserError for none."""
    repo = around.repository()
    who = signature(repo)
    with TreeReader(repo) as trees:
        writer = ObjectWriter(repo, durable=True)
        me = Signature(who.name, who.email, now(), who.tz)
        found = Resolutions(repo, trees).forget(writer, me, name)
    if not found:
        hint = "`stratum-git conflicts --remembered` lists what is"
        raise UserError(f"nothing is remembered of {name}", hint=hint)
    return [_row(one) for one in found]


def _row(one: Resolution) -> dict[str, Json]:
    whence = one.whence
    base, ours, theirs, result = map(_side, (*one.triple.sides, one.result))
    return {
        "digest": one.triple.digest, "path": one.path, "base": base, "ours": ours, "theirs": theirs,
        "result": result, "rung": whence.rung, "by": whence.by, "flow_id": whence.flow,
        "step_id": whence.step, "task_id": whence.task, "at": whence.at,
    }  # fmt: skip


def _side(side: Side) -> Json:
    return None if side is None else {"mode": side[0], "oid": side[1]}
