"""The files of a state's tree, without a repository."""

from __future__ import annotations

from collections.abc import Iterator

from stratum_git.core import layout
from stratum_git.model.state import FlowState


def files_of(state: FlowState) -> dict[str, bytes]:
    found = {piece.path: piece.encode() for piece in layout.files(state)}
    for group in layout.groups(state):
        for folder in group.folders():
            found |= {f"steps/{path}": data for path, data in _in(folder)}
    for made in layout.outputs(state):
        short, long = made.short(), made.long()
        found |= {} if short is None else {short.path: short.encode()}
        if long is not None:
            found |= {f"outputs/{path}": data for path, data in _in(long)}
    for number, one in enumerate(state.checkpoints):
        inner = {**files_of(one.state), "checkpoint.json": layout.label(one).encode()}
        found |= {f"checkpoints/{number:03}/{path}": data for path, data in inner.items()}
    return found


def _in(folder: layout.Folder) -> Iterator[tuple[str, bytes]]:
    for part in folder.pieces():
        if isinstance(part, layout.Folder):
            yield from ((f"{folder.path}/{path}", data) for path, data in _in(part))
        else:
            yield f"{folder.path}/{part.path}", part.encode()
