"""What a merge in memory takes from around it: programs of settings, missing objects, labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from stratum_git.errors import HostError
from stratum_git.git.merge import Conflicted, merge
from stratum_git.git.objects import ObjectWriter
from stratum_git.git.process import trust
from stratum_git.git.repository import open_repository
from stratum_git.git.tree_merge import TreeMerger
from stratum_git.git.tree_reader import TreeReader
from stratum_git.model.ids import Oid
from tests.support.merging import PLAIN, Files, import_sides, merged_in_a_checkout, merged_in_memory
from tests.support.repos import ScratchRepo

LINES = "".join(f"line {n}\n" for n in range(30))


def files(**content: str) -> Files:
    return {name.replace("_", "/"): (PLAIN, text.encode()) for name, text in content.items()}


def changed(number: int, to: str) -> str:
    return LINES.replace(f"line {number}\n", f"{to}\n")


@pytest.fixture
def place(tmp_path: Path) -> ScratchRepo:
    return ScratchRepo.make(tmp_path / "place", "--template=")


def conflict(place: ScratchRepo, labels: tuple[str, str] = ("landed", "result")) -> Conflicted:
    repo = open_repository(place.path)
    base, ours, theirs = (Oid(place.git("rev-parse", f"{n}^{{tree}}")) for n in ("base", "ours", "theirs"))
    writer = ObjectWriter(repo, durable=False)
    found = merge(repo, writer, base=base, ours=ours, theirs=theirs, labels=labels)
    assert isinstance(found, Conflicted)
    return found


def with_driver(place: ScratchRepo) -> None:
    rules = {".gitattributes": (PLAIN, b"f merge=mine\n")}
    sides = (files(f=LINES), files(f=changed(3, "ours")), files(f=changed(3, "theirs")))
    import_sides(place, *({**side, **rules} for side in sides))
    place.git("checkout", "-q", "-f", "ours")


def test_a_driver_that_came_later_is_not_started(place: ScratchRepo, tmp_path: Path) -> None:
    with_driver(place)
    repo = open_repository(place.path)
    trust(repo.common_dir, repo.root)
    place.git("config", "merge.mine.driver", f"touch '{tmp_path}/sprung'; cat %B > %A")
    assert conflict(place).paths == ("f",)
    assert not (tmp_path / "sprung").exists()


def test_a_driver_that_was_there_before_runs_at_the_top_of_the_checkout(
    place: ScratchRepo, tmp_path: Path
) -> None:
    with_driver(place)
    place.git("config", "merge.mine.driver", f"(pwd; env | grep ^GIT_WORK) > '{tmp_path}/told'; exit 1")
    repo = open_repository(place.path)
    trust(repo.common_dir, repo.root)
    conflict(place)
    assert (tmp_path / "told").read_text() == f"{place.path}\n"


def test_a_driver_that_was_changed_is_the_one_that_was_there(place: ScratchRepo, tmp_path: Path) -> None:
    with_driver(place)
    place.git("config", "merge.mine.driver", f"echo before > '{tmp_path}/told'; exit 1")
    repo = open_repository(place.path)
    trust(repo.common_dir, repo.root)
    place.git("config", "merge.mine.driver", f"echo after > '{tmp_path}/told'; exit 1")
    conflict(place)
    assert (tmp_path / "told").read_text() == "before\n"


def test_a_conflict_calls_the_sides_by_name(place: ScratchRepo) -> None:
    base = files(f=LINES, x="x\n")
    ours, theirs = files(f=changed(3, "ours"), x="x\n"), files(f=changed(3, "theirs"), x="x\n")
    import_sides(place, base, {**ours, **files(t="file\n")}, {**theirs, **files(t_in="folder\n")})
    place.git("config", "merge.conflictStyle", "diff3")
    found = conflict(place, ("landed", "feature/api"))
    text = place.git("show", f"{found.tree}:f")
    assert [row for row in text.splitlines() if row[:1] in "<|>"] == [
        "<<<<<<< landed",
        "||||||| base",
        ">>>>>>> feature/api",
    ]
    assert place.files(found.tree) == ["f", "t/in", "t~landed", "x"]
    assert found.paths == ("f", "t")
    assert {stage.path for stage in found.stages} == {"f", "t~landed"}
    assert "t~landed" in found.messages


def test_a_name_that_is_taken_is_left_alone(place: ScratchRepo) -> None:
    base = files(x="x\n")
    theirs = {"t": (PLAIN, b"file\n"), "t~feature_api": (PLAIN, b"taken\n")}
    import_sides(place, base, files(x="x\n", t_in="folder\n"), {**base, **theirs})
    found = conflict(place, ("landed", "feature/api"))
    assert place.files(found.tree) == ["t/in", "t~feature_api", "t~feature_api_0", "x"]
    assert place.show(f"{found.tree}:t~feature_api") == "taken"


def test_attributes_follow_our_side_from_merge_to_merge(place: ScratchRepo) -> None:
    ours, theirs = files(d_f=changed(3, "ours"), x="x\n"), files(d_f=changed(3, "theirs"), x="x\n")
    import_sides(place, files(d_f=LINES, x="x\n"), ours, theirs)
    repo = open_repository(place.path)
    writer = ObjectWriter(repo, durable=False)
    base, mine, other = (Oid(place.git("rev-parse", f"{n}^{{tree}}")) for n in ("base", "ours", "theirs"))
    rules = {text: writer.blob(text) for text in (b"f -merge\n", b"f merge=union\n")}
    with TreeReader(repo) as trees:
        merger = TreeMerger(trees, writer)
        below = trees.entries(trees.entries(mine)["d"][1])
        found = []
        for rule in (b"", b"f merge=union\n", b"f -merge\n", b"f merge=union\n", b""):
            inner = {**below, **({".gitattributes": (PLAIN, rules[rule])} if rule else {})}
            tree = writer.tree({**trees.entries(mine), "d": ("040000", writer.tree(inner))})
            found.append(merge(repo, writer, base=base, ours=tree, theirs=other, merger=merger))
    text = [place.show(f"{one.tree}:d/f") for one in found]
    assert [isinstance(one, Conflicted) for one in found] == [True, False, True, False, True]
    assert ["<<<" in one for one in text] == [True, False, False, False, True]


def partial_clone(source: ScratchRepo, to: Path) -> ScratchRepo:
    source.git("config", "uploadpack.allowFilter", "true")
    source.git("config", "uploadpack.allowAnySHA1InWant", "true")
    address = source.path.as_uri()
    source.git("clone", "-q", "--filter=blob:none", "--branch", "ours", address, str(to))
    clone = ScratchRepo(to)
    for name in ("base", "theirs"):
        clone.git("branch", "-q", name, f"origin/{name}")
    return clone


def missing(clone: ScratchRepo) -> set[str]:
    told = clone.git("rev-list", "--objects", "--missing=print", "theirs", "base")
    return {row[1:] for row in told.splitlines() if row.startswith("?")}


def test_of_a_partial_clone_only_what_is_merged_is_fetched(place: ScratchRepo, tmp_path: Path) -> None:
    base = files(f=LINES, other="1\n")
    import_sides(place, base, files(f=changed(3, "o"), other="1\n"), files(f=changed(23, "t"), other="2\n"))
    wanted = merged_in_a_checkout(place)
    clone = partial_clone(place, tmp_path / "clone")
    of_theirs = {name: place.git("rev-parse", f"theirs:{name}") for name in ("f", "other")}
    assert missing(clone) >= set(of_theirs.values())
    repo = open_repository(clone.path)
    trust(repo.common_dir, repo.root)

    assert merged_in_memory(clone, shortcut=True) == wanted
    assert of_theirs["f"] not in missing(clone)
    assert of_theirs["other"] in missing(clone)


def test_what_a_partial_clone_cannot_fetch_is_told(place: ScratchRepo, tmp_path: Path) -> None:
    import_sides(place, files(f=LINES), files(f=changed(3, "ours")), files(f=changed(23, "theirs")))
    clone = partial_clone(place, tmp_path / "clone")
    place.path.rename(tmp_path / "gone")
    repo = open_repository(clone.path)
    trust(repo.common_dir, repo.root)
    lacking = "|".join(clone.git("rev-parse", "base:f", "theirs:f").split())
    with pytest.raises(HostError, match=rf"merge-tree .* could not fetch ({lacking}) from promisor"):
        merged_in_memory(clone, shortcut=True)


def test_a_sparse_checkout_changes_nothing(place: ScratchRepo) -> None:
    rules = "in/f merge=union\n"
    ours, theirs = (files(d_in_f=changed(3, side), x="x\n") for side in ("ours", "theirs"))
    base = files(d_in_f=LINES, x="x\n")
    sides = ({**side, "d/.gitattributes": (PLAIN, rules.encode())} for side in (base, ours, theirs))
    import_sides(place, *sides)
    wanted = merged_in_a_checkout(place)
    assert wanted.clean
    place.git("checkout", "-q", "-f", "--detach", "base")
    place.git("sparse-checkout", "set", "--no-cone", "/x")
    assert not (place.path / "d").exists()
    assert merged_in_memory(place, shortcut=True) == wanted


def test_what_is_written_in_a_batch_can_be_merged_by_git_and_is_there_in_the_end(place: ScratchRepo) -> None:
    import_sides(
        place,
        files(f=LINES, x="x\n"),
        files(f=changed(3, "ours"), x="y\n", new="n\n"),
        files(f=changed(23, "theirs"), x="x\n"),
        files(f=changed(13, "elsewhere"), x="x\n"),
    )
    repo = open_repository(place.path)
    writer = ObjectWriter(repo, durable=True)
    names = ("base", "ours", "theirs", "elsewhere")
    base, *sides = (Oid(place.git("rev-parse", f"{name}^{{tree}}")) for name in names)
    added = Oid(place.git("rev-parse", "base^{tree}"))
    with TreeReader(repo, writer.heal) as trees:
        merger = TreeMerger(trees, writer).deferring()
        at = added
        for side in sides:
            found = merge(repo, merger.writer, base=base, ours=at, theirs=side, merger=merger)
            assert not isinstance(found, Conflicted)
            at = found.tree
        # Not named yet, and merged in process with what is.
        more = merger.writer.tree({**trees.entries(base), "more": (PLAIN, merger.writer.blob(b"more\n"))})
        last = merge(repo, merger.writer, base=base, ours=at, theirs=more, merger=merger)
        merger.writer.sync()
    assert place.files(last.tree) == ["f", "more", "new", "x"]
    assert place.show(f"{last.tree}:f") == LINES.replace("line 3\n", "ours\n").replace(
        "line 13\n", "elsewhere\n"
    ).replace("line 23\n", "theirs\n").rstrip("\n")
