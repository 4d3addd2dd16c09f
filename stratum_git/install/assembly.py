"""Puts together what belongs into the files of a scope."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stratum_git import __version__
from stratum_git.install import disk, shipped
from stratum_git.install.documents import document
from stratum_git.install.hook_groups import Hook, foreign
from stratum_git.install.parts import (
    Part,
    file_part,
    hooks_part,
    manifest_part,
    read_manifest,
    section_part,
    server_part,
)
from stratum_git.install.places import Places
from stratum_git.install.program import Program
from stratum_git.install.record import digest_of
from stratum_git.install.refusing import Unusable
from stratum_git.install.section import PATTERNS, PROSE

WORKTREES = ("WorktreeCreate", "WorktreeRemove")
"""Events that one program answers for all."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """How it is asked for: the server's name, the program, and whether changed parts are lost."""

    name: str
    program: Program
    force: bool = False


def parts_of(places: Places, wanted: Wanted) -> list[Part]:
    """Returns the parts of an installation in the order of their writing; raises Unusable."""
    files, digests = _files(places, known_files(places), force=wanted.force)
    return [
        *_excluded(places, digests, wanted),
        manifest_part(places.manifest, __version__, digests),
        *files,
        *_shared(places, wanted),
    ]


def parts_to_take(places: Places, wanted: Wanted) -> list[Part]:
    """Returns the parts of an installation in the order in which they are taken out, their list last."""
    known = known_files(places)
    files = [
        file_part(places.folder / name, None, digest, executable=False, force=wanted.force)
        for name, digest in known.items()
    ]
    shared = [*reversed(_shared(places, wanted)), *_excluded(places, known, wanted)]
    return [*shared, *files, manifest_part(places.manifest, __version__, known)]


def known_files(places: Places) -> dict[str, str]:
    """Returns the files that are ours as a whole, by the list beside them; raises Unusable."""
    return read_manifest(disk.look(places.manifest, places.bounds).data)


def wanted_hooks(places: Places, program: Program) -> list[Hook]:
    """Returns the hooks for a file of settings: without those that somebody else's program answers there."""
    hooks = shipped.hooks(program)
    if has_other_worktrees(places):
        return [hook for hook in hooks if hook.event not in WORKTREES]
    return hooks


def has_other_worktrees(places: Places) -> bool:
    """Returns whether somebody else makes the worktrees of the client."""
    try:
        doc = document(disk.look(places.settings, places.bounds).data)
        return any(foreign(doc, event) for event in WORKTREES)
    except Unusable:
        return False  # Whoever plans says what is the matter with it.


def _shared(places: Places, wanted: Wanted) -> list[Part]:
    """Returns the parts of files that are not ours alone."""
    entry = shipped.server(wanted.program)
    return [
        section_part(places.words, PROSE, shipped.words(), force=wanted.force),
        hooks_part(places.settings, wanted_hooks(places, wanted.program)),
        server_part(places.servers, places.keys, wanted.name, entry, secret=places.secret),
    ]


def _excluded(places: Places, digests: Mapping[str, str], wanted: Wanted) -> list[Part]:
    """Returns the part that tells git to overlook what lies in a project and is one user's."""
    if places.exclude is None:
        return []
    own = [
        path.relative_to(places.root).as_posix() for path in (places.manifest, places.settings, places.words)
    ]
    tops = sorted({"/".join([places.folder.name, *name.split("/")[:2]]) for name in digests})
    body = "\n".join(f"/{name}" for name in [*own, *tops])
    return [section_part(places.exclude, PATTERNS, body, force=wanted.force)]


def _files(places: Places, known: Mapping[str, str], *, force: bool) -> tuple[list[Part], dict[str, str]]:
    digests: dict[str, str] = {}
    parts: list[Part] = []
    files = shipped.files()
    for file in files:
        path = places.folder / file.name
        found = _data(path, places)
        was = known.get(file.name)
        if was is None and found == file.data:
            continue  # It is somebody else's, who has the same.
        fresh = digest_of(file.data)
        is_changed = found is not None and digest_of(found) not in (was, fresh) and not force
        digests[file.name] = was if was is not None and is_changed else fresh
        parts.append(file_part(path, file.data, was, executable=file.executable, force=force))
    names = {file.name for file in files}
    parts += [
        # They are shipped no longer.
        file_part(places.folder / name, None, known[name], executable=False, force=force)
        for name in sorted(known.keys() - names)
    ]
    return parts, digests


def _data(path: Path, places: Places) -> bytes | None:
    try:
        return disk.look(path, places.bounds).data
    except Unusable:
        return None
