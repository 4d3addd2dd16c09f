"""A JSON file of a client's, and the servers in it: put in and taken out, the rest left to the byte.

A server of ours is known by what it starts, so it is found also where somebody changed or renamed it.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from stratum_git.install.json_edit import put_item, put_member, replaced, value_of, without
from stratum_git.install.json_scan import Array, Node, NotJsonError, Object, Scalar, children, scan
from stratum_git.install.refusing import Unusable
from stratum_git.model.ids import Json

MANY = 200
"""Servers of ours in one file; each is taken out by itself."""
OWN_PROGRAM = re.compile(r"(?:^|/)stratum-git$")


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON object in a file: its text without the byte order mark, and the mark."""

    text: str
    mark: bytes = b""

    def data(self) -> bytes:
        """Returns the bytes of the file."""
        return self.mark + self.text.encode()

    def at(self, *keys: str) -> Node | None:
        """Returns the value at the end of *keys*; raises Unusable where something on the way is no object."""
        node = scan(self.text)
        for number, key in enumerate(keys):
            member = self._as_object(node, *keys[:number]).member(key)
            if member is None:
                return None
            node = member.value
        return node

    def object(self, *keys: str) -> Object | None:
        """Returns the object at the end of *keys*; raises Unusable when something else is there."""
        node = self.at(*keys)
        return None if node is None else self._as_object(node, *keys)

    def array(self, *keys: str) -> Array | None:
        """Returns the array at the end of *keys*; raises Unusable when something else is there."""
        node = self.at(*keys)
        if node is not None and not isinstance(node, Array):
            raise Unusable(f"{'.'.join(keys)} is no list", "make it one: []")
        return node

    def value(self, *keys: str) -> Json:
        """Returns the value at the end of *keys*, ``None`` where there is none."""
        node = self.at(*keys)
        return None if node is None else value_of(self.text, node)

    def put(self, keys: Sequence[str], value: Json) -> Document:
        """Returns the document with a value at the end of *keys*, and the objects that this needs."""
        for number in range(len(keys)):
            node = self.at(*keys[: number + 1])
            if node is not None and number + 1 < len(keys):
                continue
            if node is not None:
                return replace(self, text=replaced(self.text, node, value))
            for key in reversed(keys[number + 1 :]):
                value = {key: value}
            holder = self.object(*keys[:number])
            if holder is not None:
                return replace(self, text=put_member(self.text, holder, keys[number], value))
        return self

    def append(self, keys: Sequence[str], value: Json) -> Document:
        """Returns the document with one more item in the array at *keys*, made where there is none."""
        holder = self.array(*keys)
        if holder is None:
            return self.put(keys, [value])
        return replace(self, text=put_item(self.text, holder, value))

    def drop(self, node: Object | Array, index: int) -> Document:
        """Returns the document without a member or an item of a container."""
        return replace(self, text=without(self.text, node, index))

    def prune(self, keys: Sequence[str], kept: Document | None) -> Document:
        """Returns the document without what is empty on the way to *keys*, the innermost first.

        What *kept* has as well stays: somebody else made it.
        """
        doc = self
        for number in reversed(range(1, len(keys) + 1)):
            node = doc.at(*keys[:number])
            is_empty = node is not None and not isinstance(node, Scalar) and not any(children(node))
            holder = doc.object(*keys[: number - 1])
            if not is_empty or holder is None or (kept is not None and kept.has(*keys[:number])):
                break
            names = [member.key for member in holder.members]
            doc = doc.drop(holder, names.index(keys[number - 1]))
        return doc

    def has(self, *keys: str) -> bool:
        """Returns whether there is something at the end of *keys*."""
        try:
            return self.at(*keys) is not None
        except Unusable:
            return False

    def _as_object(self, node: Node, *keys: str) -> Object:
        if not isinstance(node, Object):
            raise Unusable(f"{'.'.join(keys) or 'it'} is no JSON object", "make it one: {}")
        return node


def document(data: bytes | None) -> Document:
    """Returns a file as a document; raises Unusable when it is none that can be edited.

    An absent or empty file is an empty object: clients take it for one.
    """
    if data is None or not data.strip():
        return Document("{}\n")
    mark = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
    try:
        found = Document(data.removeprefix(mark).decode(), mark)
        found.object()
    except UnicodeDecodeError as error:
        raise Unusable(f"byte {error.start + len(mark)} is not UTF-8", "save it as UTF-8") from error
    except NotJsonError as error:
        raise Unusable(str(error), error.hint) from error
    return found


def with_server(doc: Document, keys: Sequence[str], name: str, entry: Mapping[str, Json]) -> Document:
    """Returns *doc* with a server in the object at *keys*; raises Unusable when another one has the name.

    A server of ours that is there already keeps what else it was given, options included: only how the
    program is started is changed.
    """
    found = doc.value(*keys, name)
    if found is None:
        return doc.put([*keys, name], dict(entry))
    if not isinstance(found, dict) or not is_own_server(found):
        raise Unusable(f"{'.'.join(keys)} has a server {name!r} already, {_command(found)}", "--name another")
    if _start(found) == _start(entry):
        return doc
    old = found["args"]
    rest = old[old.index("mcp") + 1 :] if isinstance(old, list) else []
    new = entry["args"]
    args = [*new, *rest] if isinstance(new, list) else new
    doc = doc.put([*keys, name, "command"], entry["command"])
    return doc if args == old else doc.put([*keys, name, "args"], args)


def without_servers(doc: Document, keys: Sequence[str], kept: Document | None) -> Document:
    """Returns *doc* without the servers of ours at *keys*; what becomes empty and *kept* has too, stays."""
    names = _own_servers(doc, keys)
    if len(names) > MANY:
        raise Unusable(f"it has more than {MANY} servers of stratum-git", "delete them by hand")
    for name in names:
        holder = doc.object(*keys)
        if holder is not None:
            index = [member.key for member in holder.members].index(name)
            doc = doc.drop(holder, index).prune(keys, kept)
    return doc


def is_own_server(entry: Json) -> bool:
    """Returns whether an entry starts the server of this program."""
    if not isinstance(entry, dict):
        return False
    command, args = entry.get("command"), entry.get("args")
    if not isinstance(command, str) or not isinstance(args, list):
        return False
    if args[:1] == ["mcp"]:
        return OWN_PROGRAM.search(command) is not None
    return "stratum_git" in args and "mcp" in args


def _own_servers(doc: Document, keys: Sequence[str]) -> list[str]:
    holder = doc.object(*keys) if doc.has(*keys) else None
    members = () if holder is None else holder.members
    return [member.key for member in members if is_own_server(value_of(doc.text, member.value))]


def _start(entry: Mapping[str, Json]) -> Json:
    args = entry.get("args")
    words = args if isinstance(args, list) else []
    return [entry.get("command"), *words[: words.index("mcp") + 1 if "mcp" in words else None]]


def _command(entry: Json) -> str:
    if not isinstance(entry, dict):
        return "which is no object"
    words = [
        entry.get("command") or entry.get("url"),
        *(args if isinstance(args := entry.get("args"), list) else ()),
    ]
    return "which is " + " ".join(str(word) for word in words if word)
