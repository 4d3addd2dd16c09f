"""What decides, besides a commit, how its files are checked out: settings, and attributes outside of it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from stratum_git.git.process import checkout_environment, settings_folder
from stratum_git.git.repository import Repository
from stratum_git.git.settings import FILE, FileSign, file_sign, settings_sources, system_attributes
from stratum_git.model.values import dataclass

DECIDING = ("attr.", "core.", "filter.", "lfs.", "extensions.", "i18n.", "lfstransfer.", "submodule.")
"""Settings that may decide what a checkout looks like."""
CONDITIONAL = b"includeif."


@dataclass(frozen=True, slots=True)
class CheckoutSettings:
    """A word for the settings: with another one files may look different. ``files`` are what it is from.

    They may be there or not; ``signs`` are what they were at the latest when they were read.
    """

    digest: str
    files: tuple[Path, ...]
    signs: tuple[FileSign | None, ...]

    @property
    def is_current(self) -> bool:
        """Returns whether nobody has written in the files since."""
        return tuple(map(file_sign, self.files)) == self.signs


def checkout_settings(repo: Repository) -> CheckoutSettings:
    """Returns what the settings are now. One git, or two where settings include others."""
    files = _usual_files(repo)
    while True:
        signs = tuple(map(file_sign, files))
        listed = repo.git.run("config", "--list", "-z", "--show-origin").stdout.split(b"\0")
        attributes = _attribute_files(repo, listed)
        sources = (*settings_sources(listed, repo.root), *attributes)
        if {*files} >= {*sources}:
            # Their signs are of before they were read: whoever writes meanwhile is noticed.
            read = (*attributes, *_conditional(repo, listed))
            return CheckoutSettings(_digest(repo, listed[1::2], read), files, signs)
        files = tuple(dict.fromkeys((*files, *sources)))


def _usual_files(repo: Repository) -> tuple[Path, ...]:
    own = (repo.common_dir / "config", repo.git_dir / "config.worktree", repo.root / ".git/config")
    return tuple(dict.fromkeys((*own, *settings_sources((), repo.root), *_attribute_files(repo, ()))))


def _attribute_files(repo: Repository, listed: Sequence[bytes]) -> tuple[Path, ...]:
    mine = settings_folder() / "git" / "attributes"
    if any(row.startswith(b"core.attributesfile\n") for row in listed[1::2]):
        named = repo.git.run("config", "--type=path", "core.attributesFile", ok=(0, 1, 128)).stdout
        # A place that is not whole is meant from the top of a checkout.
        mine = repo.root / (os.fsdecode(named).rstrip("\n") or "/dev/null")
    return (repo.common_dir / "info/attributes", mine, *system_attributes())


def _conditional(repo: Repository, listed: Sequence[bytes]) -> Iterator[Path]:
    """Yields what is included on a condition: it may hold in a slot, and not where this is asked."""
    for origin, row in zip(listed[::2], listed[1::2], strict=False):
        key, _, value = row.partition(b"\n")
        if key.startswith(CONDITIONAL) and origin.startswith(FILE):
            above = (repo.root / os.fsdecode(origin.removeprefix(FILE))).parent
            yield above / os.path.expanduser(os.fsdecode(value))  # noqa: PTH111 - any text


def _digest(repo: Repository, rows: Sequence[bytes], files: Sequence[Path]) -> str:
    deciding = tuple(word.encode() for word in DECIDING)
    settings = [row for row in rows if row.startswith(deciding)]
    # Which file says something counts: one of attributes beats the other.
    texts = [path.read_bytes() if path.is_file() else b"" for path in files]
    found = repr((settings, texts, sorted(checkout_environment(repo.root).items())))
    return hashlib.sha256(found.encode()).hexdigest()[:12]
