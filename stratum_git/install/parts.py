"""What an installation consists of: for each file how our part is put in, and how it is taken out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from stratum_git.install.documents import Document, document, with_server, without_servers
from stratum_git.install.hook_groups import Hook, with_hooks, without_hooks
from stratum_git.install.record import digest_of
from stratum_git.install.refusing import Unusable
from stratum_git.install.section import Markers, is_changed, with_section, without_section
from stratum_git.model.ids import Json

OWNED = re.compile(
    r"README\.md|(?!.*/\.{1,2}(?:/|$))(?:\.claude-plugin|skills|agents|hooks)(?:/[A-Za-z0-9._-]+)+"
)
"""A file that is ours as a whole, below the folder of a client's settings or of a plugin."""
CHANGED = "it was changed since stratum-git wrote it"


@dataclass(frozen=True, slots=True)
class Made:
    """What a file is to be, ``None`` for no file; *kept* says why ours in it was left as it is."""

    data: bytes | None
    kept: str = ""


Put: TypeAlias = Callable[[bytes | None], Made]
Take: TypeAlias = Callable[[bytes, bytes | None], Made]


@dataclass(frozen=True, slots=True)
class Part:
    """A file, and what is ours in it.

    *put* is given what is there, *take* also what was there before us, as far as that is known. Both raise
    Unusable.
    """

    path: Path
    put: Put
    take: Take
    executable: bool = False
    secret: bool = False


def server_part(
    path: Path, keys: Sequence[str], name: str, entry: Mapping[str, Json], *, secret: bool
) -> Part:
    """Returns the part of a file of servers."""

    def put(data: bytes | None) -> Made:
        before = document(data)
        after = with_server(before, keys, name, entry)
        return Made(data if after == before else after.data())

    def take(data: bytes, before: bytes | None) -> Made:
        return _taken(data, before, lambda doc, kept: without_servers(doc, keys, kept))

    return Part(path, put, take, secret=secret)


def hooks_part(path: Path, hooks: Sequence[Hook]) -> Part:
    """Returns the part of a file of settings."""

    def put(data: bytes | None) -> Made:
        before = document(data)
        after = with_hooks(before, hooks)
        return Made(data if after == before else after.data())

    def take(data: bytes, before: bytes | None) -> Made:
        return _taken(data, before, without_hooks)

    return Part(path, put, take)


def section_part(path: Path, markers: Markers, body: str, *, force: bool) -> Part:
    """Returns the part of a text file, between markers."""

    def put(data: bytes | None) -> Made:
        made = with_section(data, markers, body, force=force)
        return Made(made, CHANGED if is_changed(made, markers) else "")

    def take(data: bytes, before: bytes | None) -> Made:
        left = without_section(data, markers, force=force)
        kept = CHANGED if left == data and is_changed(data, markers) else ""
        return Made(None if before is None and not left.strip() else left, kept)

    return Part(path, put, take)


def file_part(path: Path, data: bytes | None, known: str | None, *, executable: bool, force: bool) -> Part:
    """Returns a file that is ours as a whole; *known* is its digest as it was last written.

    *data* is ``None`` where it is shipped no longer.
    """

    def put(found: bytes | None) -> Made:
        if found is None or found == data or digest_of(found) == known or force:
            return Made(data)
        if known is None and data is not None:
            raise Unusable(
                "somebody else has a file there",
                "move it away, or replace it by --force; uninstall puts it back",
            )
        return Made(found, CHANGED)

    def take(found: bytes, before: bytes | None) -> Made:
        del before
        if known is None or (digest_of(found) != known and not force):
            return Made(found, "" if known is None else CHANGED)
        return Made(None)

    return Part(path, put, take, executable=executable)


def manifest_part(path: Path, version: str, files: Mapping[str, str]) -> Part:
    """Returns the list of the files that are ours as a whole, with their digests; it goes where they go."""
    row = {"stratum-git": version, "files": dict(sorted(files.items()))}
    text = json.dumps(row, indent=2) + "\n"
    return Part(path, lambda _: Made(text.encode()), lambda _, __: Made(None))


def read_manifest(data: bytes | None) -> dict[str, str]:
    """Returns the digests of files by their paths; raises Unusable.

    Whoever wrote the project wrote it: it names nothing outside of the folder that it lies in.
    """
    if data is None:
        return {}
    try:
        files = json.loads(data)["files"]
        if all(OWNED.fullmatch(name) and isinstance(digest, str) for name, digest in files.items()):
            return dict(files)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    raise Unusable("it is not what stratum-git wrote", "delete it; then skills that differ count as yours")


def _taken(data: bytes, before: bytes | None, take: Callable[[Document, Document | None], Document]) -> Made:
    doc = document(data)
    left = take(doc, None if before is None else document(before))
    if left == doc:
        return Made(data)
    empty = before is None and not left.text.strip().strip("{}").strip()
    return Made(None if empty else left.data())
