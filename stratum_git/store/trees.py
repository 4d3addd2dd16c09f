"""Writes a flow's state as a tree, encoding only the pieces that are not the objects written before."""

from __future__ import annotations

from collections.abc import Iterator
from operator import is_

from stratum_git.core import layout
from stratum_git.git.objects import ObjectWriter
from stratum_git.model.ids import Oid
from stratum_git.model.messages import Event
from stratum_git.model.state import Checkpoint, FlowState

FILE, TREE = "100644", "040000"
Entry = tuple[str, Oid]


class TreeCache:
    """What was written for the last state, by path. It belongs to one flow and one writer of it."""

    def __init__(self, writer: ObjectWriter) -> None:
        self._writer = writer
        self._pieces: dict[str, tuple[object, Oid]] = {}
        self._trees: dict[str, tuple[dict[str, Entry], Oid]] = {}
        self._folders: dict[str, tuple[object, Oid]] = {}
        self._groups: dict[int, tuple[object, dict[str, Entry]]] = {}
        self._made: dict[int, tuple[object, dict[str, Entry], dict[str, Entry]]] = {}

    def write(self, state: FlowState, event: Event, spec: Oid) -> Oid:
        """Returns the tree of *state* after *event*; *spec* is the blob of its spec."""
        top = {"spec.yaml": (FILE, spec), **self._entries(state, "", event)}
        named = {f"{n:03}": (TREE, self._checkpoint(n, one)) for n, one in enumerate(state.checkpoints)}
        if named:
            top["checkpoints"] = (TREE, self._tree("checkpoints", named))
        return self._writer.tree(top)

    def _entries(self, state: FlowState, below: str, event: Event | None = None) -> dict[str, Entry]:
        found = {piece.path: (FILE, self._piece(below, piece)) for piece in layout.files(state, event)}
        steps: dict[str, Entry] = {}
        for number, group in enumerate(layout.groups(state)):
            steps |= self._group(below, number, group)
        if steps:
            found["steps"] = (TREE, self._tree(f"{below}steps", steps))
        long: dict[str, Entry] = {}
        for number, outputs in enumerate(layout.outputs(state)):
            short, folders = self._outputs(below, number, outputs)
            found |= short
            long |= folders
        if long:
            found["outputs"] = (TREE, self._tree(f"{below}outputs", long))
        return found

    def _outputs(
        self, below: str, number: int, outputs: layout.Outputs
    ) -> tuple[dict[str, Entry], dict[str, Entry]]:
        token, short, long = self._made.get(number, (None, {}, {}))
        if token is not outputs.token:
            piece, folder = outputs.short(), outputs.long()
            short = {} if piece is None else {piece.path: (FILE, self._piece(below, piece))}
            long = {} if folder is None else dict(self._all(f"{below}outputs", iter([folder])))
            self._made[number] = (outputs.token, short, long)
        return short, long

    def _checkpoint(self, number: int, checkpoint: Checkpoint) -> Oid:
        """Returns the tree of a named state: written when it got its name, and never again."""
        path = f"checkpoints/{number:03}"
        token, oid = self._folders.get(path, (None, Oid("")))
        if token is not checkpoint:
            # A writer of its own, so that the cache for the present state is not the poorer for it.
            entries = TreeCache(self._writer)._entries(checkpoint.state, "")  # noqa: SLF001 - its own kind
            label = layout.label(checkpoint)
            entries[label.path] = (FILE, self._writer.blob(label.encode()))
            oid = self._writer.tree(entries)
            self._folders[path] = (checkpoint, oid)
        return oid

    def _group(self, below: str, number: int, group: layout.Group) -> dict[str, Entry]:
        token, entries = self._groups.get(number, (None, {}))
        if token is not group.token:
            entries = dict(self._all(f"{below}steps", group.folders()))
            self._groups[number] = (group.token, entries)
        return entries

    def _all(self, path: str, folders: Iterator[layout.Folder]) -> Iterator[tuple[str, Entry]]:
        for folder in folders:
            yield folder.path, (TREE, self._folder(path, folder))

    def _folder(self, above: str, folder: layout.Folder) -> Oid:
        path = f"{above}/{folder.path}"
        token, oid = self._folders.get(path, (None, Oid("")))
        if not _is_same(token, folder.token):
            oid = self._tree(path, {p.path: self._entry(path, p) for p in folder.pieces()})
            self._folders[path] = (folder.token, oid)
        return oid

    def _entry(self, folder: str, part: layout.Piece | layout.Folder) -> Entry:
        if isinstance(part, layout.Folder):
            return TREE, self._folder(folder, part)
        return FILE, self._piece(f"{folder}/", part)

    def _tree(self, path: str, entries: dict[str, Entry]) -> Oid:
        known = self._trees.get(path)
        if known is not None and known[0] == entries:
            return known[1]
        oid = self._writer.tree(entries)
        self._trees[path] = (entries, oid)
        return oid

    def _piece(self, below: str, piece: layout.Piece) -> Oid:
        path = f"{below}{piece.path}"
        token, oid = self._pieces.get(path, (None, Oid("")))
        if token is not piece.token:
            oid = self._writer.blob(piece.encode())
            self._pieces[path] = (piece.token, oid)
        return oid


def _is_same(one: object, other: object) -> bool:
    """Returns whether both are the same object, or made of the same ones."""
    if not isinstance(one, tuple) or not isinstance(other, tuple):
        return one is other
    return len(one) == len(other) and all(map(is_, one, other))
