"""Where files are, and what is in them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stratum_git.git.files import resolved


@pytest.mark.parametrize(
    "name",
    [
        "folder",
        "folder/file",
        "link/file",
        "to-link/../file",
        "absent/below",
        "ring",
        "gone (deleted)",
        "to-gone",
    ],
)
def test_a_place_is_found_as_the_library_finds_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file").touch()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "to-link").symlink_to(tmp_path / "link")
    (tmp_path / "ring").symlink_to("ring2")
    (tmp_path / "ring2").symlink_to("absent")
    (tmp_path / "gone (deleted)").mkdir()
    (tmp_path / "to-gone").symlink_to("gone (deleted)")
    assert resolved(tmp_path / name) == (tmp_path / name).resolve()


def test_a_place_is_found_where_the_system_shows_no_open_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "O_PATH")
    (tmp_path / "link").symlink_to(tmp_path)
    assert resolved(tmp_path / "link") == tmp_path.resolve()
