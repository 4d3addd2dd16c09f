"""Puts together what belongs into the files of a scope."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stratum_git.install import disk, shipped
from stratum_git.install.bundle import Bundle
from stratum_git.install.documents import document, is_own_server
from stratum_git.install.hook_groups import Hook, foreign
from stratum_git.install.parts import Part, hooks_part, section_part, server_part
from stratum_git.install.places import PROJECTS, Places
from stratum_git.install.program import NAME, Program
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
    bundle = _bundle(places)
    return [*_excluded(places, wanted), *bundle.parts(force=wanted.force), *_shared(places, wanted)]


def parts_to_take(places: Places, wanted: Wanted) -> list[Part]:
    """Returns the parts of an installation in the order in which they are taken out, their list last."""
    # The file that has our part may have been another one when it was put in.
    words = [section_part(path, PROSE, "", force=wanted.force) for path in places.words]
    _, *shared = _shared(places, wanted)
    taken = [*reversed(shared), *words, *_excluded(places, wanted)]
    return [*taken, *_bundle(places).parts_to_take(force=wanted.force)]


def agreed(places: Places, wanted: Wanted) -> Wanted:
    """Returns *wanted* with the name of the program that a project has agreed on.

    Whoever has the program in a virtual environment only would name it for all others by a path of his own.
    """
    if places.scope != "project" or wanted.program.given or wanted.program.is_portable:
        return wanted
    try:
        entry = document(data_of(places.servers, places.bounds)).value(*places.keys, wanted.name)
    except Unusable:
        return wanted
    if not isinstance(entry, dict) or entry.get("command") != NAME or not is_own_server(entry):
        return wanted
    remark = (
        f"The entries of this project run {NAME}, which PATH has only in a virtual environment, if at all: "
    )
    remark += (
        "clients that are started elsewhere will not find it. `pipx install` or `uv tool install` helps."
    )
    return replace(wanted, program=Program((NAME,), remark))


def wanted_hooks(places: Places, program: Program) -> list[Hook]:
    """Returns the hooks for a file of settings: without those that somebody else's program answers there."""
    hooks = shipped.hooks(program)
    if has_other_worktrees(places):
        return [hook for hook in hooks if hook.event not in WORKTREES]
    return hooks


def words_of(places: Places) -> Path:
    """Returns the file for our words: the one that has them already, else the first that there is."""
    data = {path: data_of(path, places.bounds) for path in places.words}
    with_ours = [path for path, found in data.items() if PROSE.is_in(found or b"")]
    there = [path for path, found in data.items() if found is not None]
    return next(iter([*with_ours, *there, *places.words]))


def data_of(path: Path, bounds: Sequence[Path]) -> bytes | None:
    """Returns a file, ``None`` where none can be read: whoever plans says what is the matter."""
    try:
        return disk.look(path, bounds).data
    except Unusable:
        return None


def has_other_worktrees(places: Places) -> bool:
    """Returns whether somebody else makes the worktrees of the client."""
    try:
        doc = document(data_of(places.settings, places.bounds))
        return any(foreign(doc, event) for event in WORKTREES)
    except Unusable:
        return False


def _shared(places: Places, wanted: Wanted) -> list[Part]:
    """Returns the parts of files that are not ours alone."""
    entry = shipped.server(wanted.program)
    return [
        section_part(words_of(places), PROSE, shipped.words(), force=wanted.force),
        hooks_part(places.settings, wanted_hooks(places, wanted.program)),
        server_part(places.servers, places.keys, wanted.name, entry, secret=places.secret),
    ]


def _bundle(places: Places) -> Bundle:
    return Bundle(places.folder, places.bounds, places.manifest, tuple(shipped.files()))


def _excluded(places: Places, wanted: Wanted) -> list[Part]:
    """Returns the part that tells git to overlook what lies in a project and is one user's."""
    if places.exclude is None:
        return []
    own = [
        path.relative_to(places.root).as_posix() for path in (places.manifest, places.settings, *places.words)
    ]
    # What the project has as well is to be committed.
    is_shared = (places.folder / PROJECTS).exists()
    names = [] if is_shared else [file.name for file in shipped.files()]
    tops = sorted({"/".join([places.folder.name, *name.split("/")[:2]]) for name in names})
    body = "\n".join(f"/{name}" for name in [*own, *tops])
    return [section_part(places.exclude, PATTERNS, body, force=wanted.force)]
