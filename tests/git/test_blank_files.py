from __future__ import annotations

import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stratum_git.git import blank_files
from stratum_git.git.blank_files import FOLDERS, MOST, BlankFiles


def made_ahead(blanks: BlankFiles, path: Path, mode: int) -> None:
    """Has a file like *path* made ahead."""
    os.close(blanks.make(f"{path}.before", mode))
    blanks.renew()
    blanks.wait()


def opened() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("mode", [0o444, 0o666])
@pytest.mark.parametrize("is_ahead", [False, True])
def test_a_file_made_ahead_is_as_one_made_when_asked_for(tmp_path: Path, mode: int, is_ahead: bool) -> None:
    blanks, path, pattern = BlankFiles(), tmp_path / "file", tmp_path / "pattern"
    os.close(os.open(pattern, os.O_WRONLY | os.O_CREAT, mode))
    if is_ahead:
        made_ahead(blanks, path, mode)
    handle = blanks.make(str(path), mode)
    os.write(handle, b"text")
    assert not os.get_inheritable(handle)
    os.close(handle)
    blanks.close()
    assert path.read_bytes() == b"text"
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(pattern.stat().st_mode)
    assert path.stat().st_nlink == 1


@pytest.mark.parametrize("is_ahead", [False, True])
def test_what_is_there_stays_as_it_is(tmp_path: Path, is_ahead: bool) -> None:
    blanks, path = BlankFiles(), tmp_path / "file"
    if is_ahead:
        made_ahead(blanks, path, 0o666)
    path.write_bytes(b"of somebody")
    before = opened()
    with pytest.raises(FileExistsError):
        blanks.make(str(path), 0o666)
    assert path.read_bytes() == b"of somebody"
    assert opened() == before - is_ahead
    blanks.close()


def test_a_file_made_ahead_has_no_name_until_it_is_asked_for(tmp_path: Path) -> None:
    blanks, path = BlankFiles(), tmp_path / "file"
    made_ahead(blanks, path, 0o444)
    Path(f"{path}.before").unlink()
    assert list(tmp_path.iterdir()) == []
    blanks.close()


def test_a_folder_that_was_made_again_gets_its_file_all_the_same(tmp_path: Path) -> None:
    blanks, path = BlankFiles(), tmp_path / "folder" / "file"
    path.parent.mkdir()
    made_ahead(blanks, path, 0o666)
    Path(f"{path}.before").unlink()
    path.parent.rmdir()
    path.parent.mkdir()
    os.close(blanks.make(str(path), 0o666))
    assert path.exists()
    blanks.close()


def test_few_are_open_however_many_are_asked_for_and_none_in_the_end(tmp_path: Path) -> None:
    blanks, before = BlankFiles(), opened()
    for number in range(3 * FOLDERS):
        (tmp_path / str(number)).mkdir()
        for name in range(2 * MOST):
            os.close(blanks.make(f"{tmp_path}/{number}/{name}", 0o666))
        blanks.renew()
        blanks.wait()
    assert opened() <= before + FOLDERS * MOST
    blanks.close()
    assert opened() == before
    os.close(blanks.make(f"{tmp_path}/again", 0o666))


def test_nobody_asks_for_a_while_and_none_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blank_files, "IDLE", 0.05)
    blanks, path, before = BlankFiles(), tmp_path / "file", opened()
    for _ in range(3):
        made_ahead(blanks, path, 0o444)
        Path(f"{path}.before").unlink()
        deadline = time.monotonic() + 5
        while opened() > before:
            assert time.monotonic() < deadline
    blanks.close()


def test_many_who_ask_while_it_ends_get_a_file_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blank_files, "IDLE", 0.0)
    blanks, before = BlankFiles(), opened()

    def ask(name: str) -> None:
        for number in range(50):
            os.close(blanks.make(f"{tmp_path}/{name}-{number}", 0o444))
            blanks.renew()
            if number % 10 == 0:
                blanks.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, "abcd"))
    blanks.close()
    assert len(list(tmp_path.iterdir())) == 200
    assert opened() == before
