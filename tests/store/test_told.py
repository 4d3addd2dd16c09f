"""What was told of flows is what was told, or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from stratum_git.store.told import LARGEST, MANY, known_words, remember_words


def tip(number: int) -> str:
    return f"{number:040x}"


def test_what_was_told_last_is_known(tmp_path: Path) -> None:
    assert known_words(str(tmp_path), tip(1)) is None
    for number in (*range(MANY + 3), 3):
        remember_words(str(tmp_path), tip(number), f"{{\n{number}\n}}")
    known = {n for n in range(MANY + 3) if known_words(str(tmp_path), tip(n)) == f"{{\n{n}\n}}"}
    assert known == {3, *range(4, MANY + 3)}
    assert [path.name for path in (tmp_path / "stratum").iterdir()] == ["told"]


def test_it_does_not_grow_without_end(tmp_path: Path) -> None:
    for number in range(4):
        remember_words(str(tmp_path), tip(number), str(number) * (LARGEST // 2))
    assert (tmp_path / "stratum/told").stat().st_size < LARGEST + 1000
    remember_words(str(tmp_path), tip(9), "9" * (LARGEST + 1))
    assert known_words(str(tmp_path), tip(9)) is None
    assert known_words(str(tmp_path), tip(3)) is not None


@pytest.mark.parametrize("torn", [b"", b"\0" * 200, b"1/0 x 3\nabc\n", b"x" * 99])
def test_what_is_torn_is_not_told(tmp_path: Path, torn: bytes) -> None:
    remember_words(str(tmp_path), tip(1), "one " * 30)
    remember_words(str(tmp_path), tip(2), "two " * 30)
    path = tmp_path / "stratum/told"
    path.write_bytes(path.read_bytes()[:-9] + torn)
    assert known_words(str(tmp_path), tip(2)) == "two " * 30
    assert known_words(str(tmp_path), tip(1)) is None
    path.write_bytes(torn + path.read_bytes()[9:])
    assert known_words(str(tmp_path), tip(2)) is None
