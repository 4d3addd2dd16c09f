"""A git that merges pair after pair: to start one takes longer than most merges.

``git merge-tree --stdin`` keeps its answers to itself until the end before 2.49. So it is not even asked
where git is older; where it is not, an answer that does not come by itself is fetched by ending that git,
and it is not tried again. It merges by the attributes and settings that it was started with: when they are
others, so is the git. Where settings name merge drivers it is not used: what those say, or wait for, would
be between two answers.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

from stratum_git.git.attributes import Attributes, settings_from, surroundings
from stratum_git.git.process import Conversation, git_version, merge_settings, settings_sign
from stratum_git.git.repository import Repository
from stratum_git.model.ids import Oid

SINCE = (2, 49, 0)
"""The git that writes each answer out."""
PATIENCE = 2.0
"""Seconds for an answer to come by itself."""
DEADLINE = 3600.0
CHUNK = 1 << 16
ASKED = ("merge-tree", "--write-tree", "-z", "--messages", "--stdin")


@dataclass(frozen=True, slots=True)
class Said:
    """What git says of a merge: the tree, the rows of stages, and the fields of its messages."""

    is_clean: bool
    tree: Oid
    stages: tuple[bytes, ...]
    notes: tuple[bytes, ...]


class MergeSession:
    """Merges commits with one git, as long as it can. Safe for several threads; to be closed.

    ``is_prompt`` says whether it is tried at all.
    """

    def __init__(
        self,
        repo: Repository,
        attributes: Attributes,
        *,
        is_prompt: bool | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self._repo = repo
        self._attributes = attributes
        self._is_prompt = git_version() >= SINCE if is_prompt is None else is_prompt
        self._patience = patience
        self._lock = threading.Lock()
        self._git: Conversation | None = None
        self._state: object = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the git, if there is one. The session can be used again."""
        with self._lock:
            self._end()

    @property
    def pid(self) -> int | None:
        """Returns the process of the git that is at hand."""
        return None if self._git is None else self._git.process.pid

    def ask(self, tree: Oid, ours: Oid, theirs: Oid) -> Said | None:
        """Merges two commits, *tree* being that of ours; ``None`` where another git has to be asked."""
        with self._lock:
            if not self._is_prompt or not self._is_ready(tree):
                return None
            said = self._asked(f"{ours} {theirs}\n".encode())
            if said is None:
                self._end()
            return said

    def _is_ready(self, tree: Oid) -> bool:
        """Starts a git that has the attributes of *tree*, unless that one is at hand."""
        sign = settings_sign(self._repo.root)
        named = merge_settings(self._repo.root)
        if sign is None or any(key.endswith(".driver") for key in named):
            return False
        files = tuple(sorted(self._attributes.files(tree).items()))
        state = (sign, files)
        if self._git is not None and self._state == state:
            return True
        self._end()
        folder = self._stack.enter_context(self._attributes.checked_out(tree))
        config, env = settings_from(self._repo, folder, named), surroundings(self._repo, folder)
        self._git = self._repo.git.talk(*ASKED, config=config, env=env, within=folder)
        self._state = state
        return True

    def _asked(self, question: bytes) -> Said | None:
        if self._git is None or not self._git.send(question):
            return None
        data = b""
        while (chunk := self._git.chunk(CHUNK, self._patience)) is not None:
            data += chunk
            said = read_answer(data)
            if said is not None or not chunk:
                return said
        # It has it, and keeps it. What comes at the end is as good.
        self._is_prompt = False
        git, self._git = self._git, None
        return read_answer(data + git.close(DEADLINE).stdout)

    def _end(self) -> None:
        git, self._git, self._state = self._git, None, None
        if git is not None:
            git.close(DEADLINE)
        self._stack.close()


def read_answer(data: bytes) -> Said | None:
    """Returns the answer that begins *data*; ``None`` where it is not whole.

    A status, the tree, rows of stages, an empty field, messages, an empty field: each ends with a NUL.
    """
    fields = data.split(b"\0")
    # What is behind the last NUL may go on.
    whole = len(fields) - 1
    at = 2
    while at < whole and fields[at]:
        at += 1
    stages, at = tuple(fields[2:at]), at + 1
    begin = at
    while at < whole and fields[at]:
        if not fields[at].isdigit():
            return None
        at += 3 + int(fields[at])
    if at >= whole or fields[0] not in {b"0", b"1"}:
        return None
    return Said(fields[0] == b"1", Oid(fields[1].decode("ascii")), stages, tuple(fields[begin:at]))
