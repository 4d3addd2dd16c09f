from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from stratum_git.git import journalled
from stratum_git.git.journalled import keeps_order
from tests.support.disks import mounted, unable


def test_of_two_disks_and_of_memory_no_order_is_known(tmp_path: Path) -> None:
    assert not keeps_order(str(tmp_path), "/proc")
    assert not keeps_order("/proc")


@pytest.mark.skipif(bool(unable()), reason=f"no disks of our own: {unable()}")
@pytest.mark.parametrize(("options", "is_kept"), [((), True), (("-O", "^has_journal"), False)])
def test_a_disk_with_a_journal_keeps_the_order_of_names(
    tmp_path: Path, options: tuple[str, ...], is_kept: bool
) -> None:
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(16 * 1024 * 1024)
    subprocess.run(["mkfs.ext4", "-q", "-F", *options, image], check=True)
    journalled._is_journalled.cache_clear()
    with mounted(image, tmp_path / "disk"):
        (tmp_path / "disk/one").mkdir()
        assert keeps_order(str(tmp_path / "disk"), str(tmp_path / "disk/one")) is is_kept
        assert not keeps_order(str(tmp_path), str(tmp_path / "disk"))
    journalled._is_journalled.cache_clear()


def test_what_cannot_be_seen_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journalled, "MOUNTS", tmp_path / "absent")
    journalled._is_journalled.cache_clear()
    assert not keeps_order(os.fspath(tmp_path))
    journalled._is_journalled.cache_clear()
