"""The stash, which all worktrees of a repository share: what one of them put there shows up in all."""

from __future__ import annotations

from pathlib import Path

from stratum_git.model.ids import RefName

NOWHERE = b"(no branch)"


def stashed_on(common_dir: Path, branch: RefName | None) -> frozenset[str]:
    """Returns the commits in the stash that were made on *branch*, or with a detached HEAD.

    Git writes the branch into its message; that is the only thing that tells whose an entry is.
    """
    try:
        rows = (common_dir / "logs" / "refs" / "stash").read_bytes().splitlines()
    except FileNotFoundError:
        return frozenset()
    short = NOWHERE if branch is None else branch.removeprefix("refs/heads/").encode()
    marks = (b"WIP on " + short + b": ", b"On " + short + b": ")
    found = set()
    for row in rows:
        facts, _, message = row.partition(b"\t")
        if message.startswith(marks):
            found.add(facts.split(b" ")[1].decode("ascii", "replace"))
    return frozenset(found)
