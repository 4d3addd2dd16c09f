"""How a result becomes commits on top of what landed before it, by strategy. In memory; nothing moves.

``sequential_apply`` and ``squash`` make one commit of a task, the latter naming the commits that it folds;
``rebase`` replays the agent's own commits one by one. Authors, their dates and trailers stay. The tree is the
same whichever it is: that of the whole change merged, and a replay that does not come to it is folded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stratum_git.git.commits import Commit
from stratum_git.git.merge import Merged, merge
from stratum_git.git.objects import Signature
from stratum_git.git.repository import Repository
from stratum_git.git.tree_merge import TreeMerger
from stratum_git.model.ids import Oid
from stratum_git.model.spec import Merge

LONGEST = 1000
"""Commits of one agent that are looked at; whoever makes more has them folded."""
SHOWN = 50
TRAILER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*: \S.*")
OURS = "Stratum-"
SNAPSHOT = re.compile(r"[^\n]*: attempt \d+\n\nWhat [^\n]*")
"""The message of the commit that is made of what an agent left uncommitted."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """The target with some results on top of it."""

    commit: Oid
    tree: Oid


@dataclass(frozen=True, slots=True)
class Words:
    """What the commits of a task say: its message, and the trailers that tell where it is from."""

    message: str
    trailers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Strategy:
    """Makes the commits of results."""

    repo: Repository
    merger: TreeMerger
    committer: Signature
    merge: Merge

    def land(self, on: Prefix, tree: Oid, base: Oid, result: Oid, words: Words) -> tuple[Oid, str]:
        """Returns the last commit of a result that makes *tree* of *on*, and what is to be said of it."""
        commits = own_commits(self.merger, base, result)
        if self.merge != "rebase" or commits is None or (len(commits) < 2 and is_snapshot(commits[0])):
            note = "" if self.merge != "rebase" or commits is not None else "its commits were folded"
            return self._folded(on, tree, result, commits or (), words), note
        last = self._replayed(on, tree, commits, words)
        if last is None:
            note = "its commits were folded: they do not apply one by one"
            return self._folded(on, tree, result, commits, words), note
        return last, ""

    def _folded(self, on: Prefix, tree: Oid, result: Oid, commits: Sequence[Commit], words: Words) -> Oid:
        own = [commit for commit in commits if not is_snapshot(commit)]
        author = own[-1].author if own else self.merger.trees.commit(result).author
        text, mine = _parted(words.message)
        body = [text]
        if self.merge == "squash" and own:
            more = len(own) - SHOWN
            subjects = [f"* {_subject(commit)}" for commit in own[:SHOWN]]
            body.append("\n".join([*subjects, f"* and {more} more"] if more > 0 else subjects))
        others = (f"{c.author.name} <{c.author.email}>" for c in own)
        me = f"{author.name} <{author.email}>"
        credits_ = [f"Co-authored-by: {who}" for who in dict.fromkeys(others) if who != me]
        kept = [line for commit in own for line in _parted(commit.message)[1]]
        return self._commit(on.commit, tree, body, (*mine, *kept, *credits_), words, author)

    def _replayed(self, on: Prefix, tree: Oid, commits: Sequence[Commit], words: Words) -> Oid | None:
        """Returns the last of the replayed commits; ``None`` where they do not come to *tree*."""
        at, now = on.commit, on.tree
        for commit in commits:
            before = self.merger.trees.root(commit.parents[0])
            merged = merge(
                self.repo, self.merger.writer, base=before, ours=now, theirs=commit.tree, merger=self.merger
            )
            if not isinstance(merged, Merged):
                return None
            if merged.tree == now:
                continue
            now = merged.tree
            at = self._replay(at, now, commit, words)
        return at if now == tree else None

    def _replay(self, parent: Oid, tree: Oid, commit: Commit, words: Words) -> Oid:
        text, trailers = _parted(words.message if is_snapshot(commit) else commit.message)
        return self._commit(parent, tree, [text], trailers, words, commit.author)

    def _commit(
        self,
        parent: Oid,
        tree: Oid,
        body: Sequence[str],
        kept: Sequence[str],
        words: Words,
        author: Signature,
    ) -> Oid:
        last = "".join(f"{line}\n" for line in (*dict.fromkeys(kept), *words.trailers))
        message = "\n\n".join((*(part for part in body if part), last))
        return self.merger.writer.commit(tree, (parent,), message, author, self.committer)


def own_commits(merger: TreeMerger, base: Oid, result: Oid) -> tuple[Commit, ...] | None:
    """Returns the first-parent commits from *base* to *result*, oldest first; ``None`` if that is no line."""
    line: list[Commit] = []
    at = result
    while at != base:
        commit = merger.trees.commit(at)
        line.append(commit)
        if not commit.parents or len(line) > LONGEST:
            return None
        at = commit.parents[0]
    return tuple(reversed(line)) or None


def is_snapshot(commit: Commit) -> bool:
    """Returns whether a commit was made of what an agent left uncommitted: its message is nobody's own."""
    return SNAPSHOT.fullmatch(commit.message.strip()) is not None


def _subject(commit: Commit) -> str:
    return commit.message.strip().partition("\n")[0][:200]


def _parted(message: str) -> tuple[str, tuple[str, ...]]:
    """Returns a message without its trailers, and those, but for ours: they were of another landing."""
    text, gap, last = message.strip().rpartition("\n\n")
    lines = tuple(_unfolded(last))
    if not gap or not all(TRAILER.fullmatch(line) for line in lines):
        return message.strip(), ()
    return text.strip(), tuple(line for line in lines if not line.startswith(OURS))


def _unfolded(paragraph: str) -> Iterator[str]:
    """Yields the lines of a paragraph, those that are continued as one."""
    line = ""
    for part in paragraph.split("\n"):
        if part[:1].isspace() and line:
            line += f" {part.strip()}"
        else:
            if line:
                yield line
            line = part.strip()
    if line:
        yield line
