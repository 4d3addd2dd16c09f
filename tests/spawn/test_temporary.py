"""Folders for temporary files: gone with who made them, and nobody else's is touched."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stratum_git.spawn.temporary import sweep_temporary, temporary

HOLD = """\
import sys
from stratum_git.spawn.temporary import temporary
with temporary("test") as place:
    (place / "file").write_text("x")
    print(place, flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(folder: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """Gives a folder that another process has, and that process; it ends with the block."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        cwd=Path(__file__).parents[2], env={**os.environ, "TMPDIR": str(folder)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield Path(process.stdout.readline().strip()), process
    finally:
        process.kill()
        process.communicate()


def test_a_folder_is_gone_when_it_is_no_longer_needed() -> None:
    with temporary("test") as place:
        (place / "deep").mkdir()
        assert place.stat().st_mode & 0o777 == 0o700
    assert not place.exists()


def test_what_the_dead_had_is_swept_and_what_the_living_have_is_not(tmp_path: Path) -> None:
    with holder(tmp_path) as (place, process):
        sweep_temporary(tmp_path)
        assert (place / "file").exists()
        process.kill()
        process.wait(5)
        assert place.exists()
        sweep_temporary(tmp_path)
        assert list(tmp_path.iterdir()) == []


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("x")
    (tmp_path / "stratum-git-merge-0123456789abcdef").symlink_to(kept)
    (tmp_path / "stratum-git-ssh-0123456789abcdef").write_text("x")
    for name in ("stratum-merge-old", "stratum-git-merge-notes", "stratum-git-bench"):
        (tmp_path / name).mkdir()
    before = sorted(tmp_path.rglob("*"))
    sweep_temporary(tmp_path)
    sweep_temporary(tmp_path / "nowhere")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_folder_of_another_user_stays(tmp_path: Path) -> None:
    theirs = tmp_path / "stratum-git-merge-0123456789abcdef"
    theirs.mkdir()
    os.chown(theirs, 12345, 12345)
    sweep_temporary(tmp_path)
    assert theirs.is_dir()
