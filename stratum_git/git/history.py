"""The reading side for people: the history of a flow, through GitPython.

GitPython starts git for each thing that it is asked and is not safe for several threads; here it is opened
and closed per call, and nothing that is waited for while tasks run goes through it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from stratum_git.errors import HostError
from stratum_git.git.repository import Repository
from stratum_git.model.ids import Oid, RefName

if TYPE_CHECKING:
    import git


@dataclass(frozen=True, slots=True)
class LogEntry:
    """An event of a flow as its commit tells it. ``at`` is seconds since the epoch."""

    oid: Oid
    at: int
    subject: str
    body: str
    trailers: Mapping[str, str]
    parents: tuple[Oid, ...]


def flow_log(repo: Repository, ref: RefName, limit: int | None = None) -> tuple[LogEntry, ...]:
    """Returns the events of a flow, oldest first; with *limit*, the last so many."""
    # A tenth of what a server takes to start, and hardly any is asked for a history.
    library = import_module("git")
    try:
        with library.Repo(repo.root) as opened:
            count = -1 if limit is None else limit
            commits = list(opened.iter_commits(ref, first_parent=True, max_count=count))
            entries = [_entry(commit) for commit in commits if "Stratum-Event" in str(commit.message)]
    except library.GitError as error:
        raise HostError(f"the history of {ref} cannot be read: {error}") from error
    return tuple(reversed(entries))


def _entry(commit: git.Commit) -> LogEntry:
    message = str(commit.message)
    subject, _, rest = message.partition("\n")
    paragraphs = [part for part in rest.strip().split("\n\n") if part]
    trailers = dict(line.partition(": ")[::2] for line in paragraphs.pop().splitlines()) if paragraphs else {}
    return LogEntry(
        oid=Oid(commit.hexsha),
        at=int(commit.committed_date),
        subject=subject,
        body="\n\n".join(paragraphs),
        trailers=trailers,
        parents=tuple(Oid(parent.hexsha) for parent in commit.parents),
    )
