"""A small btrfs in a file, mounted from a loop device: for root, where mkfs.btrfs is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

BYTES = 256 << 20


def unable() -> str:
    """Returns what keeps this machine from mounting a btrfs of its own; empty when nothing does."""
    if os.geteuid() != 0:
        return "only root can mount a disk"
    if shutil.which("mkfs.btrfs") is None:
        return "mkfs.btrfs is not installed"
    if "btrfs" not in Path("/proc/filesystems").read_text().split():
        return "this kernel has no btrfs"
    return "" if Path("/dev/loop-control").exists() else "there is no /dev/loop-control"


def mount_btrfs(folder: Path) -> Path:
    """Makes a btrfs in *folder* and returns where it is mounted."""
    image, place = folder / "btrfs.img", folder / "btrfs"
    with image.open("wb") as file:
        file.truncate(BYTES)
    place.mkdir()
    subprocess.run(["mkfs.btrfs", "-q", image], check=True, capture_output=True)
    subprocess.run(["mount", "-t", "btrfs", "-o", "loop", image, place], check=True, capture_output=True)
    return place


def unmount_btrfs(place: Path) -> None:
    """Takes a btrfs away, with its image."""
    subprocess.run(["umount", "-l", place], check=True, capture_output=True)
    place.with_suffix(".img").unlink()
