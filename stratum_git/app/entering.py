"""Goes where slots can be mounted, before a run begins, if this process may not mount where it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from stratum_git.app.config import read_config
from stratum_git.app.places import folders_of
from stratum_git.app.surroundings import Surroundings
from stratum_git.dispatch.names import session_ref
from stratum_git.errors import StratumError
from stratum_git.git.layout import Layout
from stratum_git.git.refs import tip_nowait
from stratum_git.git.repository import Repository
from stratum_git.git.whereabouts import checkout_at
from stratum_git.model.ids import FlowId
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.private import sees_mounts, why_not
from stratum_git.spawn.namespace import enter
from stratum_git.spawn.outside import recall_lookout

MOUNTED = ("auto", "overlay")


@contextmanager
def mounting(around: Surroundings, flow: FlowId | None = None) -> Iterator[str]:
    """Sees to it that this process may mount slots; gives why it may not, empty when it may.

    For a *flow* that is a session there is nothing to mount: its slot stays, and is seen by all.
    Who may not where he is goes into a namespace in which he may, and never comes out: this is for the whole
    of a run, and before there are threads. What is wrong with the repository or its settings is said by
    whoever goes on.
    """
    folders = _folders(around, flow)
    if folders is not None and sees_mounts(folders):
        folders = None
    reason = "" if folders is None else why_not(folders)
    entered = folders is not None and not reason
    if entered:
        enter()
    try:
        yield reason
    finally:
        if entered:
            recall_lookout()


def _folders(around: Surroundings, flow: FlowId | None) -> StateFolders | None:
    checkout = checkout_at(str(around.cwd))
    if checkout is None:
        return None
    found = Layout.of(checkout)
    # Read from its files: git is asked, once, by what follows.
    repo = Repository(found.root, found.git_dir, found.common_dir, found.object_format)
    try:
        if flow is not None and tip_nowait(repo, session_ref(flow)) is not None:
            return None
        config = read_config(repo.root)
        # What the settings name comes after what is mounted, or it is that.
        return folders_of(around, repo, config) if config.slots_rung in MOUNTED else None
    except StratumError:
        return None
