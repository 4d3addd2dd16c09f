"""The files of a state's tree, without a repository."""

from __future__ import annotations

from stratum_git.core import layout
from stratum_git.model.state import FlowState


def files_of(state: FlowState) -> dict[str, bytes]:
    found = {piece.path: piece.encode() for piece in layout.files(state)}
    for folder in layout.folders(state):
        found |= {f"steps/{folder.path}/{piece.path}": piece.encode() for piece in folder.pieces()}
    return found
