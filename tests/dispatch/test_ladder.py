"""What the rungs of the ladder merge, and what they leave alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest
import trio

from stratum_git.agents.base import DriverSpec
from stratum_git.agents.drivers import Drivers, found_on
from stratum_git.dispatch.ladder import Ladder, scratch
from stratum_git.dispatch.parking import sides_of
from stratum_git.git.merge import Conflicted, Merged
from stratum_git.git.objects import ObjectWriter, Signature
from stratum_git.git.repository import Repository
from stratum_git.git.tree_merge import TreeMerger
from stratum_git.git.tree_reader import TreeReader
from stratum_git.model.ids import Oid
from stratum_git.model.messages import Mend
from stratum_git.slots.folders import StateFolders
from stratum_git.store.resolutions import Provenance, Resolution, Resolutions, Side
from tests.support.drivers import calls, fake_mergiraf
from tests.support.repos import ScratchRepo

ME = Signature("Tess Ter", "tess@example.invalid", 1.0)
BY = "mergiraf 9.9.9"
Files: TypeAlias = dict[str, str | bytes]
Merge: TypeAlias = Callable[[Ladder, Files, Files, Files], Merged | Conflicted]

BASE: Files = {"m.py": "import os\n", "d/same.txt": "x\n"}
OURS: Files = {"m.py": "import os\nimport abc\n", "d/same.txt": "x\n"}
THEIRS: Files = {"m.py": "import os\nimport zlib\n", "d/same.txt": "x\n"}


@pytest.fixture
def ladder(repo: Repository, writer: ObjectWriter, tmp_path: Path) -> Iterator[Ladder]:
    """A ladder without drivers."""
    with TreeReader(repo) as trees:
        folders = StateFolders(tmp_path / "state")
        yield Ladder(repo, TreeMerger(trees, writer), Resolutions(repo, trees), folders)


@pytest.fixture
def merge(scratch: ScratchRepo) -> Merge:
    """Merges three sets of files."""

    def tree(files: Files) -> Oid:
        scratch.git("rm", "-rfq", "--ignore-unmatch", ".")
        for name, content in files.items():
            scratch.write(name, content)
        scratch.git("add", "-A")
        return Oid(scratch.git("write-tree"))

    def work(ladder: Ladder, base: Files, ours: Files, theirs: Files) -> Merged | Conflicted:
        return ladder.merge(*(tree(files) for files in (base, ours, theirs)))

    return work


def with_mergiraf(ladder: Ladder, folder: Path, how: str = "merges", timeout: float = 30.0) -> Ladder:
    fake_mergiraf(folder, how)
    spec = found_on(str(folder), ladder.repo.root)
    assert spec is not None
    return replace(ladder, drivers=Drivers([replace(spec, timeout=timeout)], dict(os.environ)))


def text(ladder: Ladder, tree: Oid, path: str) -> bytes:
    return ladder.repo.git.run("cat-file", "blob", f"{tree}:{path}").stdout


def test_a_driver_merges_what_it_knows(ladder: Ladder, merge: Merge, tmp_path: Path) -> None:
    driven = with_mergiraf(ladder, tmp_path / "bin")
    found = merge(driven, BASE, OURS, THEIRS)
    assert isinstance(found, Merged)
    assert found.mends == (Mend("m.py", "driver", BY),)
    assert text(ladder, found.tree, "m.py") == b"import abc\nimport os\nimport zlib\n"
    assert text(ladder, found.tree, "d/same.txt") == b"x\n"
    assert list((tmp_path / "state/merges").iterdir()) == []
    # A merge of git's own asks nobody, and what a driver says of itself is asked once.
    assert merge(driven, BASE, OURS, OURS).mends == ()
    merge(driven, BASE, THEIRS, OURS)
    assert calls(tmp_path / "bin/calls.log") == ["languages", "--version", "merge", "merge"]


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("markers", "it left conflict markers"),
        ("fails", "it exited with 1"),
        ("crashes", "it was ended by signal 11"),
        ("hangs", "it took more than 1 s"),
        ("deletes", "it left no file"),
        ("links", "it left no file"),
        ("ends", "it changed the ends of lines"),
    ],
)
def test_a_driver_that_does_not_end_well_leaves_a_conflict(
    ladder: Ladder, merge: Merge, tmp_path: Path, how: str, why: str
) -> None:
    driven = with_mergiraf(ladder, tmp_path / "bin", how, timeout=1.0 if how == "hangs" else 30.0)
    plain = merge(ladder, BASE, OURS, THEIRS)
    found = merge(driven, BASE, OURS, THEIRS)
    assert isinstance(plain, Conflicted)
    assert found == replace(plain, tried=(Mend("m.py", "driver", f"{BY}: {why}"),))
    assert list((tmp_path / "state/merges").iterdir()) == []
    if how == "hangs":
        # Who hangs once is not waited for again.
        assert merge(driven, BASE, THEIRS, OURS).tried == ()  # type: ignore[union-attr]


def test_a_driver_reaches_neither_the_repository_nor_its_settings(
    ladder: Ladder, merge: Merge, tmp_path: Path, scratch: ScratchRepo
) -> None:
    driven = with_mergiraf(ladder, tmp_path / "bin", "writes")
    git = {"GIT_DIR": str(scratch.path / ".git"), "GIT_WORK_TREE": str(scratch.path)}
    assert driven.drivers is not None
    driven = replace(driven, drivers=Drivers(driven.drivers.specs, dict(os.environ) | git))
    before = ((scratch.path / ".git/config").read_text(), scratch.git("for-each-ref"))
    assert isinstance(merge(driven, BASE, OURS, THEIRS), Merged)
    assert ((scratch.path / ".git/config").read_text(), scratch.git("for-each-ref")) == before
    assert not list(scratch.path.rglob("evil"))


def test_drivers_are_asked_only_for_files_that_git_tried_to_merge(
    ladder: Ladder, merge: Merge, tmp_path: Path, scratch: ScratchRepo
) -> None:
    driven = with_mergiraf(ladder, tmp_path / "bin")
    conflicts: dict[str, tuple[Files, Files, Files]] = {
        "unknown": ({"m.c": "a\n"}, {"m.c": "b\n"}, {"m.c": "c\n"}),
        "binary": ({"m.py": b"a\0"}, {"m.py": b"b\0"}, {"m.py": b"c\0"}),
        "deleted": ({"m.py": "a\nb\n"}, {}, {"m.py": "a\nc\n"}),
    }
    for name, (base, ours, theirs) in conflicts.items():
        keep: Files = {"keep.txt": "keep\n"}
        assert isinstance(merge(driven, base | keep, ours | keep, theirs | keep), Conflicted), name
    # As attributes have it, which git reads in the checkout.
    (scratch.path / ".git/info").mkdir(exist_ok=True)
    (scratch.path / ".git/info/attributes").write_text("*.py -merge\n")
    assert isinstance(merge(driven, BASE, OURS, THEIRS), Conflicted)
    assert "merge" not in calls(tmp_path / "bin/calls.log")


def test_what_was_added_on_both_sides_has_an_empty_base(ladder: Ladder, merge: Merge, tmp_path: Path) -> None:
    driven = with_mergiraf(ladder, tmp_path / "bin")
    new: list[Files] = [{"a.txt": "a\n", "n.py": f"import {name}\n"} for name in ("abc", "zlib")]
    found = merge(driven, {"a.txt": "a\n"}, *new)
    assert isinstance(found, Merged)
    assert text(ladder, found.tree, "n.py") == b"import abc\nimport zlib\n"


def test_of_several_conflicts_what_can_be_merged_is(ladder: Ladder, merge: Merge, tmp_path: Path) -> None:
    driven = with_mergiraf(ladder, tmp_path / "bin")
    sides = [files | {"d/n.txt": text} for files, text in ((BASE, "a\n"), (OURS, "b\n"), (THEIRS, "c\n"))]
    found = merge(driven, *sides)
    assert isinstance(found, Conflicted)
    assert (found.paths, {stage.path for stage in found.stages}) == (("d/n.txt",), {"d/n.txt"})
    assert found.mends == (Mend("m.py", "driver", BY),)
    assert found.messages == "CONFLICT (content): Merge conflict in d/n.txt"
    assert text(ladder, found.tree, "m.py") == b"import abc\nimport os\nimport zlib\n"
    assert b"<<<<<<<" in text(ladder, found.tree, "d/n.txt")


def test_memory_comes_before_drivers_and_only_for_what_was_resolved(
    ladder: Ladder, merge: Merge, writer: ObjectWriter, tmp_path: Path
) -> None:
    driven = with_mergiraf(ladder, tmp_path / "bin")
    known = learn(ladder, merge(ladder, BASE, OURS, THEIRS), writer, b"resolved\n")
    mend = Mend("m.py", "memory", f"{known.triple.digest[:12]}, person Tess Ter in flow-1")
    found = merge(driven, BASE, OURS, THEIRS)
    assert isinstance(found, Merged)
    assert (found.mends, text(ladder, found.tree, "m.py")) == ((mend,), b"resolved\n")
    assert merge(ladder.steady(), BASE, OURS, THEIRS) == found
    # The other way round it is another conflict.
    assert merge(driven, BASE, THEIRS, OURS).mends == (Mend("m.py", "driver", BY),)
    # With what fails, the next rung is tried, and none when there is none.
    refused = driven.without(found.mends)
    again = merge(refused, BASE, OURS, THEIRS)
    assert isinstance(again, Merged)
    assert again.mends == (Mend("m.py", "driver", BY),)
    last = merge(refused.without(again.mends), BASE, OURS, THEIRS)
    assert isinstance(last, Conflicted)
    assert [one.rung for one in last.tried] == ["memory", "driver"]
    assert all(one.by.endswith(": a check failed with it") for one in last.tried)


def test_a_deletion_is_remembered_too(ladder: Ladder, merge: Merge, writer: ObjectWriter) -> None:
    base: Files = {"d/gone.txt": "a\nb\n", "keep.txt": "k\n"}
    ours: Files = {"keep.txt": "k\n"}
    theirs: Files = {"d/gone.txt": "a\nc\n", "keep.txt": "k\n"}
    learn(ladder, merge(ladder, base, ours, theirs), writer, None)
    found = merge(ladder, base, ours, theirs)
    assert isinstance(found, Merged)
    assert ladder.repo.git.run("ls-tree", "-r", "--name-only", found.tree).stdout == b"keep.txt\n"


def test_where_renames_have_a_part_nothing_is_taken_from_memory(
    ladder: Ladder, merge: Merge, writer: ObjectWriter
) -> None:
    long = "".join(f"{n}\n" for n in range(30))
    base: Files = {"one.txt": long}
    sides: list[Files] = [{"two.txt": long + "x\n"}, {"three.txt": long + "y\n"}]
    conflict = merge(ladder, base, *sides)
    learn(ladder, conflict, writer, b"resolved\n")
    assert merge(ladder, base, *sides) == conflict


def test_a_driver_is_waited_for_from_a_thread_of_a_run(ladder: Ladder, merge: Merge, tmp_path: Path) -> None:
    driven = with_mergiraf(ladder, tmp_path / "bin")

    async def run() -> Merged | Conflicted:
        return await trio.to_thread.run_sync(merge, driven, BASE, OURS, THEIRS)

    assert isinstance(trio.run(run), Merged)


def test_what_a_killed_merge_left_is_thrown_away(ladder: Ladder) -> None:
    left = ladder.folders.merges / "00@1.1.boot.1"
    (left / "0").mkdir(parents=True)
    dead = os.fork()
    if dead == 0:
        with scratch(ladder.folders):
            os._exit(0)
    os.waitpid(dead, 0)
    assert len(list(ladder.folders.merges.iterdir())) == 2
    with scratch(ladder.folders) as folder:
        # Of what is of another boot nobody can tell whether it is dead.
        assert set(ladder.folders.merges.iterdir()) == {folder, left}


def test_a_name_is_never_an_option_of_a_driver(ladder: Ladder, merge: Merge, tmp_path: Path) -> None:
    program = tmp_path / "driver"
    program.write_text('#!/bin/sh\necho "$@" > "$1"\n')
    program.chmod(0o755)
    spec = DriverSpec("own", (str(program), "%A", "%P", "%L", "%%"), ("*.cfg",))
    driven = replace(ladder, drivers=Drivers([spec], dict(os.environ)))
    found = merge(driven, {"-x.cfg": "a\n"}, {"-x.cfg": "b\n"}, {"-x.cfg": "c\n"})
    assert text(ladder, found.tree, "-x.cfg") == b"ours.cfg ./-x.cfg 7 %\n"
    assert found.mends == (Mend("-x.cfg", "driver", "own"),)


def test_a_mergiraf_in_the_checkout_is_not_the_users(repo: Repository, scratch: ScratchRepo) -> None:
    fake_mergiraf(scratch.path / "node_modules/.bin")
    assert found_on(str(scratch.path / "node_modules/.bin"), repo.root) is None
    assert found_on("node_modules/.bin", repo.root) is None


def learn(
    ladder: Ladder, conflict: Merged | Conflicted, writer: ObjectWriter, content: bytes | None
) -> Resolution:
    """Remembers *content* for every path of a conflict; returns the last one."""
    assert isinstance(conflict, Conflicted)
    result: Side = None if content is None else ("100644", writer.blob(content))
    whence = Provenance("person", "Tess Ter", "flow-1", "build", "b", 1.0)
    found = [Resolution(triple, result, path, whence) for path, triple in sides_of(conflict.stages).items()]
    ladder.memory.add(writer, ME, found)
    return found[-1]
