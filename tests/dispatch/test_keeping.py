"""What no commit can hold is moved out of a slot, which may be a file system of its own."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from stratum_git.dispatch.keeping import set_aside


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than *tmp_path*."""
    home = Path(__file__).parent.stat().st_dev
    near = Path("/dev/shm") if tmp_path.stat().st_dev == home else Path(__file__).parent
    if not near.is_dir() or near.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one file system here")
    place = Path(mkdtemp(prefix="keeping-", dir=near))
    yield place
    shutil.rmtree(place)


def test_a_pipe_and_a_socket_come_as_they_are_from_another_file_system(
    tmp_path: Path, elsewhere: Path
) -> None:
    os.mkfifo(elsewhere / "pipe")
    (elsewhere / "in").mkdir()
    (elsewhere / "in" / "link").symlink_to("nowhere")
    (elsewhere / "in" / "file").write_text("of the agent\n")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(elsewhere / "in" / "socket"))
    set_aside(elsewhere, tmp_path, ["pipe", "in"])
    left = tmp_path / "left"
    assert stat.S_ISFIFO((left / "pipe").lstat().st_mode)
    assert stat.S_ISSOCK((left / "in" / "socket").lstat().st_mode)
    assert (left / "in" / "link").readlink() == Path("nowhere")
    assert (left / "in" / "file").read_text() == "of the agent\n"
    assert list(elsewhere.iterdir()) == []
