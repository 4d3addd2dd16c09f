"""Files of a slot, and no others, whatever a model asks for and whoever changes things meanwhile."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from stratum_git.agents.confined import Confined, NotAllowed
from stratum_git.agents.slot_tools import Runner, Said, SlotTools


@pytest.fixture(autouse=True)
def _tethers() -> None:
    """Nothing is started here."""


@pytest.fixture
def slot(tmp_path: Path) -> Path:
    slot = tmp_path / "slot"
    (slot / "src").mkdir(parents=True)
    (slot / "src/a.txt").write_text("one\n")
    (tmp_path / "secret.txt").write_text("secret\n")
    (slot / "out").symlink_to(tmp_path)
    (slot / "link.txt").symlink_to("src/a.txt")
    (slot / ".git").write_text("gitdir: elsewhere\n")
    return slot


OUTSIDE = [
    "../secret.txt",
    "/etc/passwd",
    "out/secret.txt",
    "src/../../secret.txt",
    "link.txt",
    ".git",
    ".GIT/config",
    "src/.git/hooks/x",
    "",
    ".",
    "..",
    "src/\0",
]


@pytest.mark.parametrize("path", OUTSIDE)
def test_what_is_outside_is_neither_read_nor_written(slot: Path, path: str) -> None:
    files = Confined(slot)

    with pytest.raises(NotAllowed):
        files.read(path)
    with pytest.raises(NotAllowed):
        files.write(path, b"x")

    assert (slot.parent / "secret.txt").read_text() == "secret\n"
    assert (slot / "src/a.txt").read_text() == "one\n"


@pytest.mark.parametrize("path", ["src/a.txt", "./src//a.txt", "src/x/../a.txt"])
def test_what_is_inside_is(slot: Path, path: str) -> None:
    assert Confined(slot).read(path) == b"one\n"
    assert Confined(slot).read(f"{slot}/{path}") == b"one\n"


def test_a_file_is_replaced_as_a_whole_and_keeps_its_mode(slot: Path) -> None:
    (slot / "src/a.txt").chmod(0o755)
    inode = (slot / "src/a.txt").stat().st_ino

    Confined(slot).write("src/a.txt", b"two\n")

    found = (slot / "src/a.txt").stat()
    assert (found.st_mode & 0o777, found.st_ino == inode) == (0o755, False)
    assert [path.name for path in (slot / "src").iterdir()] == ["a.txt"]


def test_folders_are_made_on_the_way(slot: Path) -> None:
    Confined(slot).write("new/deep/b.txt", b"b")

    assert (slot / "new/deep/b.txt").read_bytes() == b"b"


def test_a_pipe_is_not_waited_for(slot: Path) -> None:
    os.mkfifo(slot / "pipe")

    with pytest.raises(NotAllowed, match="not a file"):
        Confined(slot).read("pipe")
    with pytest.raises(NotAllowed, match="not a file"):
        Confined(slot).write("pipe", b"x")


def test_links_are_listed_and_not_followed(slot: Path) -> None:
    files = Confined(slot)

    assert [(entry.path, entry.kind) for entry in files.entries(".")] == [
        ("link.txt", "link"),
        ("out", "link"),
        ("src", "folder"),
    ]
    assert [entry.path for entry in files.walk()] == ["src/a.txt"]


def test_nobody_gets_out_by_changing_a_folder_into_a_link_meanwhile(slot: Path, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target/a.txt").write_text("outside")
    flip, away = slot / "src", slot / "away"
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            flip.rename(away)
            flip.symlink_to(tmp_path / "target")
            flip.unlink()
            away.rename(flip)

    thread = threading.Thread(target=change)
    thread.start()
    found: list[bytes] = []
    try:
        while len(found) < 300:
            try:
                found.append(Confined(slot).read("src/a.txt"))
            except NotAllowed:
                found.append(b"refused")
    finally:
        stop.set()
        thread.join()

    assert set(found) <= {b"one\n", b"refused"}


async def test_a_pattern_that_cannot_be_read_is_told_and_ends_nothing(slot: Path, tmp_path: Path) -> None:
    tools = SlotTools(("search",), Runner(slot, {}, tmp_path / "run.log"))

    said = await tools.use("search", {"pattern": "(" * 5000 + ")" * 5000})

    assert said == Said("search: the pattern is nested too deep: look for something simpler", wrong=True)
