"""The files of a state's tree, without a repository."""

from __future__ import annotations

from stratum_git.core import layout
from stratum_git.model.state import FlowState


def files_of(state: FlowState) -> dict[str, bytes]:
    found = {piece.path: piece.encode() for piece in layout.files(state)}
    for group in layout.groups(state):
        for folder in group.folders():
            found |= {f"steps/{folder.path}/{piece.path}": piece.encode() for piece in folder.pieces()}
    for made in layout.outputs(state):
        short, long = made.short(), made.long()
        found |= {} if short is None else {short.path: short.encode()}
        if long is not None:
            found |= {f"outputs/{long.path}/{piece.path}": piece.encode() for piece in long.pieces()}
    for number, one in enumerate(state.checkpoints):
        inner = {**files_of(one.state), "checkpoint.json": layout.label(one).encode()}
        found |= {f"checkpoints/{number:03}/{path}": data for path, data in inner.items()}
    return found
