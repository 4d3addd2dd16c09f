"""Disks that are small, or lose their power: ext4 in a file, mounted from a loop device. For root."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support import recorded_disk

NEEDED = ("/dev/loop-control", "/dev/fuse")
PATIENCE = 10.0
MKFS = (
    "mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0",
    "-E", "lazy_itable_init=0,lazy_journal_init=0",
)  # fmt: skip
HARSH = "noauto_da_alloc,commit=5"
"""Ext4 flushes a file that replaces another one, as a favour to programs that forget to; not here."""


def unable() -> str:
    """Returns what keeps this machine from mounting disks of its own; empty when nothing does."""
    if os.geteuid() != 0:
        return "only root can mount a disk"
    return next((f"there is no {name}" for name in NEEDED if not Path(name).exists()), "")


def make_image(path: Path, mib: int, *, journal_mib: int = 4) -> Path:
    """Makes an empty ext4 with a journal in a file of *mib* MiB."""
    with path.open("wb") as file:
        file.truncate(mib << 20)
    _run(*MKFS, "-J", f"size={journal_mib}", str(path))
    return path


@contextmanager
def mounted(image: Path, place: Path, options: str = HARSH) -> Iterator[str]:
    """Mounts the ext4 in *image* at *place* meanwhile; gives the device."""
    place.mkdir(exist_ok=True)
    device = _run("losetup", "--find", "--show", str(image))
    try:
        _run("mount", "-t", "ext4", "-o", options, device, str(place))
        try:
            yield device
        finally:
            _unmount(place)
    finally:
        _run("losetup", "-d", device)


def remount(place: Path, how: str) -> None:
    """Makes the disk at *place* read-only (``ro``), or writable again (``rw``)."""
    _run("mount", "-o", f"remount,{how}", str(place))


def is_sound(image: Path) -> bool:
    """Returns whether the file system, unmounted, has no fault after its journal was replayed."""
    done = subprocess.run(["e2fsck", "-fn", str(image)], capture_output=True, check=False)
    return done.returncode == 0


@dataclass(frozen=True)
class RecordedDisk:
    """A mounted disk of which every write is recorded: ``before`` is what it was, ``log`` what was done."""

    place: Path
    before: Path
    log: Path

    def position(self) -> int:
        """Returns how much was written by now: a power cut there has all that was flushed until now."""
        return self.log.stat().st_size


@contextmanager
def recorded(folder: Path, place: Path, mib: int) -> Iterator[RecordedDisk]:
    """Mounts a new disk at *place* meanwhile, and records what is written to it in *folder*."""
    before, image = make_image(folder / "before.img", mib), folder / "now.img"
    recorded_disk.copy_sparse(before, image)
    log, file = folder / "writes.log", folder / "disk"
    log.touch()
    file.touch()
    words = [sys.executable, recorded_disk.__file__, str(file), str(image), str(log)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == b"mounted\n"
            with mounted(file, place):
                yield RecordedDisk(place, before, log)
        finally:
            # Another mount namespace may have a copy of the disk: what is done there is not of this log.
            subprocess.run(["umount", "-l", str(file)], check=False)
            server.kill()


def _unmount(place: Path) -> None:
    # A loop device lets go of its file a little after it was told to, and a process of its files.
    deadline = time.monotonic() + PATIENCE
    while True:
        done = subprocess.run(["umount", str(place)], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        if time.monotonic() > deadline:
            subprocess.run(["umount", "-l", str(place)], check=False)
            raise AssertionError(f"{place} was still in use: {done.stderr}")
        time.sleep(0.02)


def _run(*words: str) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True)
    except subprocess.CalledProcessError as error:
        error.add_note(error.stderr)
        raise
    return done.stdout.strip()
