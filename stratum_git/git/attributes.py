"""The attributes by which git merges: those of our side, as a checkout of it has them.

``git merge`` reads ``.gitattributes`` in the checkout, which is at our side as long as it merges. ``git
merge-tree`` reads them where it is started, whatever is checked out there. So it is started in a folder that
has our side's ``.gitattributes`` and nothing else. (``--attr-source`` of git 2.41 would do it without one.)

Merge drivers are commands of the user's that may be named by their place in the checkout: those are still
run there.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from stratum_git.git.process import Done, merge_settings
from stratum_git.git.repository import Repository
from stratum_git.git.tree_reader import TreeReader, differences
from stratum_git.model.ids import Oid
from stratum_git.spawn.temporary import temporary

NAME = ".gitattributes"
REGULAR = "100"
"""How the modes of files begin. A link of this name is not followed by git either."""
PLACEHOLDER = re.compile(r"%([%OAB])")


class Attributes:
    """Finds the ``.gitattributes`` of trees, of one after what is known of the one before."""

    def __init__(self, trees: TreeReader, repo: Repository) -> None:
        self._trees = trees
        self._repo = repo
        self._last: tuple[Oid, Mapping[str, Oid]] | None = None

    def files(self, tree: Oid) -> Mapping[str, Oid]:
        """Returns the ``.gitattributes`` of a tree: the path of each, and its blob."""
        last = self._last
        if last is None:
            found = _listed(self._repo, tree)
        else:
            found = dict(last[1])
            for change in differences(self._trees, last[0], tree):
                if _is_one(change.path, change.old_mode):
                    found.pop(change.path, None)
                if _is_one(change.path, change.new_mode):
                    found[change.path] = change.new
        self._last = (tree, found)
        return found

    @contextmanager
    def checked_out(self, tree: Oid) -> Iterator[Path]:
        """Gives a folder that has a tree's ``.gitattributes``, for as long as it is needed."""
        # Read before: who is killed while there is a folder leaves it, until somebody sweeps.
        files = {path: self._trees.data(blob) for path, blob in self.files(tree).items()}
        with temporary("merge") as folder:
            for path, data in files.items():
                place = folder / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data)
            yield folder


def run_with_attributes(repo: Repository, attributes: Attributes, ours: Oid, *words: str) -> Done:
    """Runs a git that merges, with the attributes of the tree *ours*; it may end with 0 or 1."""
    with attributes.checked_out(ours) as folder:
        config = settings_from(repo, folder, merge_settings(repo.root))
        return repo.git.run(*words, ok=(0, 1), env=surroundings(repo, folder), config=config, within=folder)


def surroundings(repo: Repository, folder: Path) -> dict[str, str]:
    """Returns what makes a git take *folder* for the checkout."""
    return {
        "GIT_DIR": str(repo.git_dir),
        "GIT_WORK_TREE": str(folder),
        "GIT_INDEX_FILE": str(folder / "none"),
    }


def settings_from(repo: Repository, folder: Path, named: Mapping[str, str]) -> tuple[str, ...]:
    """Returns settings that name programs or files, as a git that is started in *folder* has to have them."""
    return tuple(f"{key}={_from_here(key, value, folder, repo.root)}" for key, value in named.items())


def _listed(repo: Repository, tree: Oid) -> dict[str, Oid]:
    """Returns what is found in all of a tree, which takes one git and no tree that is remembered."""
    rows = repo.git.run("ls-tree", "-r", "-z", "--full-tree", tree).stdout.split(b"\0")
    found = {}
    for facts, _, path in (row.partition(b"\t") for row in rows if row.endswith(NAME.encode())):
        mode, _, oid = facts.decode("ascii").split(" ")
        if _is_one(os.fsdecode(path), mode):
            found[os.fsdecode(path)] = Oid(oid)
    return found


def _is_one(path: str, mode: str) -> bool:
    return mode.startswith(REGULAR) and path.rpartition("/")[2] == NAME


def _from_here(key: str, value: str, folder: Path, root: Path) -> str:
    """Returns what a setting that is meant for *root* has to be in *folder*."""
    if key.endswith(".driver"):
        return _led_back(value, folder, root)
    return value if value.startswith("~") else str(root / value)


def _led_back(command: str, folder: Path, root: Path) -> str:
    """Returns a merge driver's command that runs in *root*, while git keeps its files in *folder*."""
    here = f"{folder}/".replace("%", "%%")
    moved = PLACEHOLDER.sub(lambda found: "%%" if found[1] == "%" else f"{here}%{found[1]}", command)
    back = shlex.quote(str(root)).replace("%", "%%")
    return f"cd {back} || exit 129\nunset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE\n{moved}"
