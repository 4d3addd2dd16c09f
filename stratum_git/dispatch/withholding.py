"""Keeps secrets out of commits, and out of what is said of an attempt.

Files that nobody has committed yet are held back: they are moved beside the attempt's log, and its snapshot
does not have them. What the agent has committed itself is in its commits; the attempt is rejected, so that
they never land, and they stay where the work of every rejected attempt does.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from stratum_git.agents.secrets import Secrets
from stratum_git.dispatch.keeping import LEFT, move_aside
from stratum_git.errors import UserError
from stratum_git.git.process import GitFailed
from stratum_git.git.repository import Repository
from stratum_git.git.scanning import Search, put_back, tainted_commits, tainted_files
from stratum_git.git.snapshot import Captured, UnreadableSlot
from stratum_git.model.ids import Json, Oid, RefName
from stratum_git.model.messages import (
    Answered,
    CancelRequested,
    Completed,
    Event,
    GateResolved,
    Gathered,
    Halted,
    LoopAborted,
    LoopReported,
    Lost,
    Outcome,
    Rejected,
    SkipRequested,
    StepReported,
    TaskReported,
)
from stratum_git.model.sessions import Continued, Reviewed

SHOWN = 10


class SecretGivenError(UserError):
    """A flow was to begin with a secret in its spec or its inputs."""


def without_secrets(
    secrets: Secrets, slot: Path, folder: Path, base: Oid, take: Callable[[], Captured]
) -> Captured:
    """Returns what *take* makes of a slot after files with secrets were moved from it into *folder*.

    Raises UnreadableSlot when git cannot tell what is in the slot: then nothing of it must be committed.
    """
    if not secrets:
        return take()
    search = Search(secrets.are_in, secrets.longest)
    try:
        withheld = tainted_files(slot, base, search)
        for path in withheld:
            _withhold(slot / path, folder, secrets.hidden_text(path))
        if withheld:
            put_back(slot, withheld)
    except GitFailed as error:
        raise UnreadableSlot(f"git cannot read the slot {slot}: {error.message}") from error
    taken = take()
    return dataclasses.replace(taken, secrets=tuple(_said(secrets, withheld, folder)))


def with_commits(secrets: Secrets, repo: Repository, base: Oid, taken: Captured, ref: RefName) -> Captured:
    """Returns what was taken, and whether the agent's own commits have secrets in them."""
    if not secrets:
        return taken
    found = tainted_commits(repo, base, taken.head, Search(secrets.are_in, secrets.longest))
    if not found:
        return taken
    names = _few([secrets.hidden_text(name) for name in found])
    what = f"a secret is in the commits of the attempt, in {names}: they never land, and stay on {ref}"
    return dataclasses.replace(taken, secrets=(*taken.secrets, what))


def hidden(secrets: Secrets, outcome: Outcome) -> Outcome:
    """Returns *outcome* with names in place of secret values."""
    if not secrets:
        return outcome
    told_usage = secrets.hidden_json(dict(outcome.usage))
    outcome = dataclasses.replace(outcome, usage=told_usage if isinstance(told_usage, dict) else {})
    match outcome:
        case Completed(output=output, text=text):
            text = secrets.hidden_text(text)
            return dataclasses.replace(outcome, output=secrets.hidden_json(output), text=text)
        case Rejected(findings=findings, output=output, text=text):
            told, text = tuple(map(secrets.hidden_text, findings)), secrets.hidden_text(text)
            return dataclasses.replace(outcome, findings=told, output=secrets.hidden_json(output), text=text)
        case Lost(why=why) | Halted(why=why):
            return dataclasses.replace(outcome, why=secrets.hidden_text(why))


def hidden_event(secrets: Secrets, event: Event) -> Event:
    """Returns what a client told with names in place of secret values."""
    if not secrets:
        return event
    match event:
        case Answered(result=result, violations=violations, audit=audit):
            return dataclasses.replace(
                event,
                result=secrets.hidden_json(result),
                violations=tuple(map(secrets.hidden_text, violations)),
                audit=secrets.hidden_json(audit),
            )
        case Gathered(reports=reports):
            told = [dataclasses.replace(row, outcome=hidden(secrets, row.outcome)) for row in reports]
            return dataclasses.replace(event, reports=tuple(told))
        case TaskReported(outcome=outcome) | StepReported(outcome=outcome):
            return dataclasses.replace(event, outcome=hidden(secrets, outcome))
        case LoopReported(result=result):
            return dataclasses.replace(event, result=secrets.hidden_json(result))
        case SkipRequested(reason=words) | LoopAborted(reason=words):
            return dataclasses.replace(event, reason=secrets.hidden_text(words))
        case GateResolved(rationale=words):
            return dataclasses.replace(event, rationale=secrets.hidden_text(words))
        case CancelRequested(why=words):
            return dataclasses.replace(event, why=secrets.hidden_text(words))
        case Continued(message=words):
            return dataclasses.replace(event, message=secrets.hidden_text(words))
        case Reviewed(report=report):
            return dataclasses.replace(event, report=secrets.hidden_json(report))
        case _:
            return event


def refuse_secrets(secrets: Secrets, spec: str, inputs: Mapping[str, Json]) -> None:
    """Raises SecretGivenError where a flow would begin with a secret: all of that is in its history.

    To replace it there would have the agents be told something else than what was asked.
    """
    hint = "name the variable instead, and let the agent read it"
    if secrets.hidden_text(spec) != spec:
        raise SecretGivenError("the spec has a secret in it, and is written into the history", hint=hint)
    for name, value in inputs.items():
        if secrets.hidden_json(value) != value:
            said = f"the input {name} has a secret in it, and is written into the history"
            raise SecretGivenError(said, hint=hint)


def _withhold(source: Path, folder: Path, name: str) -> None:
    """Moves a file or folder beside the attempt's log."""
    if os.path.lexists(source):
        move_aside(source, folder, name)


def _said(secrets: Secrets, paths: Sequence[str], folder: Path) -> list[str]:
    if not paths:
        return []
    names = _few([secrets.hidden_text(path) for path in paths])
    return [f"a secret is in {names}: kept out of the commit, and moved to {folder / LEFT}"]


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
