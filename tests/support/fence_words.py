"""Puts the fence's table into words: ``python -m tests.support.fence_words > contracts/fence.md``."""

from __future__ import annotations

from collections.abc import Sequence

from tests.support.fence_table import (
    CASES,
    CLONE,
    GAPS,
    OTHER_REPOSITORIES,
    OWN_WORK,
    REFUSED_ELSEWHERE,
    REFUSED_HERE,
    WAYS_AROUND,
    Case,
)

DOCUMENT = """\
# The fence, verb by verb

What an agent may do with git in its slot, as it was tried. `tests/git/test_fence.py` tries a part each time,
`python -m tests.soak.fence` all of it: {verbs} things, in a repository with branches, tags, a remote, a stash
and another worktree of the user's. After each, all of what is the user's is compared byte for byte: refs and
their logs, HEAD, settings, indexes, hooks, worktrees, the files of his checkouts, his own settings, the
remote. Tried with git {git}.

What is refused ends with an exit code other than 0, and with one sentence on standard error:

    stratum-git: refused `git stash`: all worktrees share the stash; commit it on your branch instead
    (stratum/FLOW/TASK), or leave it uncommitted.

It is a fence and no wall. Whoever wants to get past it can; the gaps below are those that are known. With
`isolation: branch` an agent has a repository of its own, and most of them are closed.

## Works as ever

{works}

In other repositories, wherever they lie, everything works, and their own hooks run:

{elsewhere}

## Is refused

{refused}

In another checkout of the same repository, or pushed into it:

{kin}

## Ways around it that are refused as well

`$REAL` is the path of the real git.

{around}

## Known gaps

Each of them was tried, and does what is said here.

{gaps}

Programs that bring a git of their own (`scalar`, libgit2, an editor's) are like the real git above, or worse.
A client's slot (`batch`, `stratum_task_claim`) is not
fenced: its environment is not given by stratum-git.

## With `isolation: branch`

The private clone is the agent's own, and nothing in it reaches the user's repository:

{clone}

The user's repository is fenced all the same:

{clone_refused}

{clone_gaps}
"""


def document(git: str = "2.39") -> str:
    """Returns ``contracts/fence.md``."""
    return DOCUMENT.format(
        git=git,
        verbs=len(CASES) + len(CLONE),
        works=_block(OWN_WORK),
        elsewhere=_block(OTHER_REPOSITORIES),
        refused=_block(REFUSED_HERE),
        kin=_block(REFUSED_ELSEWHERE),
        around=_block(WAYS_AROUND),
        gaps=_rows(GAPS),
        clone=_block([case for case in CLONE if case.expected == "works"]),
        clone_refused=_block([case for case in CLONE if case.expected == "refused"]),
        clone_gaps=_rows([case for case in CLONE if case.expected == "gap"]),
    )


def _block(cases: Sequence[Case]) -> str:
    lines = dict.fromkeys(case.shown for case in cases)
    return "\n".join(["```sh", *lines, "```"])


def _rows(cases: Sequence[Case]) -> str:
    rows = [f"| `{case.shown.replace('|', chr(92) + '|')}` | {case.note} |" for case in cases]
    return "\n".join(["| what was typed | what happens |", "|---|---|", *rows])


if __name__ == "__main__":
    print(document(), end="")
