"""A flow out of the files of its commit, whoever has read them. Loads the spec's language, and no git."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stratum_git.core import codec
from stratum_git.core.parse import load_spec
from stratum_git.core.program import compile_program
from stratum_git.core.rebuild import rebuild
from stratum_git.git.unaided import Unaided
from stratum_git.git.unaided_tree import files_of
from stratum_git.git.whereabouts import Undecided
from stratum_git.model.state import FlowState, Program

SPEC = "spec.yaml"
LARGEST = 64 * 1024 * 1024
"""Bytes of one file of a flow: the largest are outputs, and a result has 16 MiB at most."""
WHOLE = 64 * 1024 * 1024
"""Bytes of all of them that are read without git."""


def names_of(paths: Iterable[str]) -> tuple[str, ...]:
    """Returns the paths that :func:`rebuild` reads, out of all in a flow's tree."""
    return tuple(p for p in paths if p.endswith(".json") and p != "event.json")


def state_in(files: dict[str, bytes]) -> tuple[FlowState, str]:
    """Returns the flow of these files, and the text of its spec; raises UnreadableError."""
    spec = _text(files.pop(SPEC, b""))
    return rebuild(_program(spec, _name_of(files)), files), spec


def state_at(there: Unaided, tip: str) -> FlowState:
    """Returns the flow as it was after the event of commit *tip*; raises Undecided and UnreadableError."""
    tree = files_of(there, tip)
    files, size = {}, 0
    for path in (*names_of(tree), SPEC):
        if path not in tree:
            raise Undecided(f"there is no {path}")
        files[path] = there.blob(tree[path], LARGEST)
        size += len(files[path])
        if size > WHOLE:
            raise Undecided("the flow is large")
    return state_in(files)[0]


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise codec.UnreadableError("the spec of the flow is not UTF-8") from error


def _name_of(files: Mapping[str, bytes]) -> str:
    head = codec.load(files.get("state.json", b"null"))
    if not isinstance(head, dict):
        raise codec.UnreadableError("the flow's commit has no state.json")
    return str(head["name"])


def _program(spec: str, name: str) -> Program:
    loaded = load_spec(spec)
    program = None if loaded.spec is None else compile_program(loaded.spec, name)
    if not isinstance(program, Program):
        raise codec.UnreadableError("the spec of the flow is not one that this version can run")
    return program
