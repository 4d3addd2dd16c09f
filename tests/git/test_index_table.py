"""What an index says of its files is what git says of it, in each version."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from stratum_git.git.index_table import table_of
from tests.support.repos import ScratchRepo

LENGTHS = (1, 2, 7, 8, 9, 254, 255, 256, 257, 4094, 4095, 4096, 5000)


@pytest.fixture
def place(tmp_path: Path) -> ScratchRepo:
    scratch = ScratchRepo.make(tmp_path / "repo")
    scratch.commit("first", {"a/b.txt": "one\n", "a/c": "two\n", "z": "three\n"})
    blob = scratch.git("rev-parse", "HEAD:z")
    rows = "".join(f"100644 {blob} 0\t{'m' * length}\n" for length in LENGTHS).encode()
    subprocess.run(["git", "update-index", "--index-info"], cwd=scratch.path, input=rows, check=True)
    return scratch


def listed(place: ScratchRepo) -> dict[bytes, tuple[str, str]]:
    rows = (row.partition("\t") for row in place.git("ls-files", "-s", "-z").split("\0") if row)
    return {name.encode(): (facts.split(" ")[0], facts.split(" ")[1]) for facts, _, name in rows}


@pytest.mark.parametrize("version", [2, 4])
@pytest.mark.parametrize("intended", [False, True])
def test_rows_are_those_of_git(place: ScratchRepo, version: int, *, intended: bool) -> None:
    place.git("update-index", "--index-version", str(version))
    if intended:
        # Such an entry has more flags, and makes version 3 of version 2.
        (place.path / "k").write_text("intended\n")
        place.git("add", "--intent-to-add", "k")
    known = listed(place)
    index = place.path / ".git/index"
    assert index.read_bytes()[7] == (3 if intended and version == 2 else version)
    table = table_of(index, 20, [*known, b"b", b"a", b"m" * 258, b"zz", b""])
    assert table is not None
    assert {name: (row.mode, row.oid) for name, row in table.rows.items()} == known
    assert [*table.names] == sorted(known)
    assert [table.has_below(name) for name in (b"a", b"z", b"m", b"a/b.txt", b"")] == [True, *[False] * 4]
    assert [name for name, row in table.rows.items() if not row.is_plain] == [b"k"] * intended
