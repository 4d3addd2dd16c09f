"""Writes a flow's state as a tree, encoding only the pieces that are not the objects written before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stratum_git.core import layout
from stratum_git.git.objects import ObjectWriter
from stratum_git.model.ids import Oid
from stratum_git.model.state import FlowState

FILE, TREE = "100644", "040000"
Entry = tuple[str, Oid]


class TreeCache:
    """What was written for the last state, by path. It belongs to one flow and one writer of it."""

    def __init__(self, writer: ObjectWriter) -> None:
        self._writer = writer
        self._pieces: dict[str, tuple[object, Oid]] = {}
        self._trees: dict[str, tuple[dict[str, Entry], Oid]] = {}
        self._folders: dict[str, tuple[object, Oid]] = {}

    def write(self, state: FlowState, beside: Mapping[str, Oid]) -> Oid:
        """Returns the tree of *state*, with the blobs *beside* it at the top."""
        top: dict[str, Entry] = {name: (FILE, oid) for name, oid in beside.items()}
        for piece in layout.files(state):
            top[piece.path] = (FILE, self._piece(piece.path, piece))
        steps = {folder.path: (TREE, self._folder(folder)) for folder in layout.folders(state)}
        if steps:
            top["steps"] = (TREE, self._tree("steps", steps))
        return self._writer.tree(top)

    def _folder(self, folder: layout.Folder) -> Oid:
        token, oid = self._folders.get(folder.path, (None, Oid("")))
        if token is not folder.token:
            pieces = {p.path: (FILE, self._piece(f"{folder.path}/{p.path}", p)) for p in folder.pieces()}
            oid = self._tree(f"steps/{folder.path}", pieces)
            self._folders[folder.path] = (folder.token, oid)
        return oid

    def _tree(self, path: str, entries: dict[str, Entry]) -> Oid:
        known = self._trees.get(path)
        if known is not None and known[0] == entries:
            return known[1]
        oid = self._writer.tree(entries)
        self._trees[path] = (entries, oid)
        return oid

    def _piece(self, path: str, piece: layout.Piece) -> Oid:
        token, oid = self._pieces.get(path, (None, Oid("")))
        if token is not piece.token:
            oid = self._writer.blob(piece.encode())
            self._pieces[path] = (piece.token, oid)
        return oid


def names_of(paths: Iterable[str]) -> tuple[str, ...]:
    """Returns the paths that :func:`layout.rebuild` reads, out of all in a flow's tree."""
    return tuple(p for p in paths if p.endswith(".json") and p != "event.json")
