"""Where things lie on disk. All of it can be made again; what must not be lost is in the repository."""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import re
import stat
import tempfile
from functools import cache
from pathlib import Path

from stratum_git.errors import BugError, HostError, UserError
from stratum_git.git.repository import Repository
from stratum_git.model.ids import OWN
from stratum_git.model.values import dataclass

OURS = re.compile(r".+-[0-9a-f]{8}|lost\+found")
"""What is in a folder of slots: one for each repository."""
PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._@-]{0,127}")
FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_TOPDIR_FL = 0x80086601, 0x40086602, 0x00020000


@dataclass(frozen=True, slots=True)
class StateFolders:
    """The folders of one repository, below ``root``. Each is made on first use, for this user alone."""

    root: Path

    @property
    def slots(self) -> Path:
        """Returns the folder of worktrees and clones."""
        # As git will write it down, so that paths can be compared.
        return _spread_out(self.root, "slots")

    @property
    def bases(self) -> Path:
        """Returns the folder of checkouts that slots are laid over, resolved."""
        return _spread_out(self.root, "bases")

    @property
    def originals(self) -> Path:
        """Returns the folder of checkouts that slots are copied from, resolved."""
        return _spread_out(self.root, "originals")

    @property
    def layers(self) -> Path:
        """Returns the folder of what changed in slots that are laid over a base, resolved."""
        return _spread_out(self.root, "layers")

    @property
    def trash(self) -> Path:
        """Returns the folder of what waits to be deleted."""
        return _made(self.root, "trash")

    @property
    def probes(self) -> Path:
        """Returns the folder in which ways to make slots are tried with something small."""
        return _made(self.root, "probes")

    @property
    def locks(self) -> Path:
        """Returns the folder of lock files."""
        return _made(self.root, "locks")

    @property
    def fence(self) -> Path:
        """Returns the folder of the scripts that keep an agent's git to its branch."""
        return _made(self.root, "fence")

    @property
    def merges(self) -> Path:
        """Returns the folder in which merge drivers are given their files."""
        return _made(self.root, "merges")

    @property
    def worktrees(self) -> Path:
        """Returns the folder with the records of worktrees that clients have."""
        return _made(self.root, "worktrees")

    def runner_log(self, flow: str) -> Path:
        """Returns where a detached runner of *flow* prints."""
        if not PART.fullmatch(flow) or ".." in flow:
            raise BugError(f"{flow!r} cannot be the name of a file")
        return _made(self.root, "runners") / f"{flow}.log"

    def radar(self, flow: str) -> Path:
        """Returns a new folder for what is seen of a flow's slots; whoever asked for it throws it away."""
        if not PART.fullmatch(flow) or ".." in flow:
            raise BugError(f"{flow!r} cannot be the name of a folder")
        return Path(tempfile.mkdtemp(dir=_made(self.root, "radar", flow)))

    def radar_of(self, flow: str) -> list[Path]:
        """Returns the folders that :meth:`radar` made for a flow and that are still there."""
        folder = self.root / "radar" / flow
        return sorted(folder.iterdir()) if folder.is_dir() else []

    def attempts(self, flow: str) -> Path:
        """Returns where the folders of a flow's attempts are, without making it."""
        return self.root / "attempts" / flow

    def attempt(self, flow: str, step: str, task: str | None, number: int) -> Path:
        """Returns an attempt's own folder, made: prompt, result, log."""
        path = self.attempt_path(flow, step, task, number)
        return _made(self.root, *path.relative_to(self.root).parts)

    def attempt_path(self, flow: str, step: str, task: str | None, number: int) -> Path:
        """Returns where an attempt's own folder is, without making it."""
        parts = (flow, step, OWN if task is None else task, str(number))
        for part in parts:
            if not PART.fullmatch(part) or ".." in part:
                raise BugError(f"{part!r} cannot be the name of a folder")
        return self.root.joinpath("attempts", *parts)


def state_folders(repo: Repository, base: Path) -> StateFolders:
    """Returns the folders of *repo* below *base*; raises UserError when they would lie inside a checkout.

    Raises UserError as well when somebody else has the place: what is thrown away there is deleted.
    """
    place = base.expanduser().absolute() / repo.key
    try:
        root = place.resolve()
        _check_owner(place)
    except (OSError, RuntimeError) as error:
        raise UserError(f"the folder {place} cannot be used: {error}") from error
    common = repo.common_dir.resolve()
    main = common.parent if common.name == ".git" else common
    if any(root.is_relative_to(place) for place in (repo.root.resolve(), common, main)):
        hint = "name a folder outside of it: slots.root in .stratum/config.yaml, or XDG_STATE_HOME"
        raise UserError(f"slots cannot lie inside of the repository: {root}", hint=hint)
    return StateFolders(root)


def check_root(root: Path) -> None:
    """Raises UserError where slots cannot lie as the settings of a repository want them to.

    Whoever wrote the repository wrote the settings. They cannot have a folder made anywhere, nor be led into
    one that is for something else.
    """
    try:
        others = [path.name for path in root.iterdir() if not OURS.fullmatch(path.name)]
    except FileNotFoundError as error:
        hint = f"if it is to be there: mkdir -p {root}"
        raise UserError(f"slots.root is {root}, which does not exist", hint=hint) from error
    except (OSError, ValueError) as error:
        raise UserError(f"slots.root is {root}, which cannot be used: {error}") from error
    if others:
        hint = "name an empty folder, which is for slots alone"
        raise UserError(f"slots.root is {root}, which has other things in it: {others[0]}", hint=hint)


def _check_owner(place: Path) -> None:
    """Raises UserError where a folder is another user's, or a link to one that is for something else."""
    try:
        found = place.lstat()
    except FileNotFoundError:
        return
    hint = "move it away, or set XDG_STATE_HOME to a folder of yours"
    if not stat.S_ISDIR(found.st_mode):
        raise UserError(f"{place} is not a folder, and slots are to lie there", hint=hint)
    if found.st_uid != os.geteuid():
        raise UserError(f"{place} belongs to another user, and slots are to lie there", hint=hint)


def _made(root: Path, *names: str) -> Path:
    path = os.fspath(root)
    try:
        if not os.path.isdir(path):  # noqa: PTH112 - a text, since each lease asks for some of them
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in names:
            # One by one: the mode that mkdir is given does not hold for the parents that it makes.
            path = f"{path}/{name}"
            if not _is_folder(path):
                Path(path).mkdir(exist_ok=True, mode=0o700)
    except OSError as error:
        raise HostError(f"the folder {path} cannot be made: {error.strerror}") from error
    return Path(path)


def _is_folder(path: str) -> bool:
    """Returns whether there is a folder, and not only the way to one: that is taken away."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISLNK(mode):
        # An agent knows where its own folder is, and may have put anything there.
        Path(path).unlink()
    return stat.S_ISDIR(mode)


def _spread_out(root: Path, name: str) -> Path:
    if not os.path.isdir(f"{root}/{name}"):  # noqa: PTH112 - the same
        _spread(_made(root, name))
    return _resolved(root, name)


@cache
def _resolved(root: Path, name: str) -> Path:
    # Once for all: what leads there does not change under a process.
    return (root / name).resolve()


def _spread(folder: Path) -> None:
    """Asks ext4 to spread the slots over the disk (``chattr +T``), where there is such a thing.

    On ext4 without a journal, making a file next to many deleted ones costs twenty times as much otherwise.
    """
    flags = array.array("l", [0])
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(handle, FS_IOC_GETFLAGS, flags)
            flags[0] |= FS_TOPDIR_FL
            fcntl.ioctl(handle, FS_IOC_SETFLAGS, flags)
        finally:
            os.close(handle)
