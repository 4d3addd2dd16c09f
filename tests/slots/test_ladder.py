"""Which ways to make slots are tried, remembered, wanted by settings, and taken."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from stratum_git.git.repository import Repository
from stratum_git.slots.building import chosen, ladder_of
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.ladder import ORDER
from stratum_git.slots.probing import FILE, Probed, look, probe


def counted(answers: list[str]) -> Callable[[Path], str]:
    """A trial that gives one answer after the other."""

    def trial(place: Path) -> str:
        assert list(place.iterdir()) == []
        (place / "something").write_text("x")
        return answers.pop(0)

    return trial


def test_a_way_is_tried_once_and_again_when_something_is_another(folders: StateFolders) -> None:
    trials = {"snapshot": counted(["no btrfs", ""])}
    first = Probed({"snapshot": "no btrfs"})
    assert probe(folders, trials) == first
    assert probe(folders, trials) == first
    file = folders.root / FILE
    row = json.loads(file.read_bytes())
    row["facts"][1] = "another boot"
    file.write_text(json.dumps(row))
    assert probe(folders, trials) == Probed({"snapshot": ""})
    assert list(folders.probes.iterdir()) == []


def test_a_file_that_cannot_be_read_is_as_none(folders: StateFolders) -> None:
    trials = {"reflink": counted(["", "", ""])}
    assert probe(folders, trials).obstacles == {"reflink": ""}
    for nonsense in (b"\0\0", b'{"facts": 3, "obstacles": []}'):
        (folders.root / FILE).write_bytes(nonsense)
        assert probe(folders, trials).obstacles == {"reflink": ""}


def test_who_only_looks_leaves_nothing_and_what_is_wrong_is_forgotten(folders: StateFolders) -> None:
    assert look(folders, {"reflink": counted([""])}) == Probed({"reflink": ""})
    assert not folders.root.exists()
    probe(folders, {"reflink": counted([""])})
    before = (folders.root / FILE).stat()
    look(folders, {"reflink": counted([""])})
    assert (folders.root / FILE).stat() == before
    look(folders, {"reflink": counted(["gone"])})
    assert not (folders.root / FILE).exists()


def test_a_trial_that_fails_tells_why(folders: StateFolders) -> None:
    def broken(place: Path) -> str:
        raise PermissionError(13, "Permission denied", str(place))

    assert probe(folders, {"overlay": broken}).obstacles == {"overlay": "Permission denied"}


@pytest.mark.parametrize(
    ("forced", "steps"),
    [
        ("auto", ["overlay", "snapshot", "idle", "reflink", "cold"]),
        ("overlay", ["overlay", "snapshot", "idle", "reflink", "cold"]),
        ("snapshot", ["snapshot", "idle", "reflink", "cold"]),
        ("warm", ["idle", "reflink", "cold"]),
        ("reflink", ["reflink", "cold"]),
        ("cold", ["cold"]),
    ],
)
def test_settings_leave_out_what_is_above(
    repo: Repository, folders: StateFolders, forced: str, steps: list[str]
) -> None:
    remember(folders, dict.fromkeys(ORDER, ""))
    told = list[str]()
    ladder = ladder_of(repo, folders, forced=forced, tell=told.append)
    here = ["idle" if rung is None else rung.name for rung in ladder.steps(visible=False)]
    # Files are small in the repository of tests: only who says so has them copied.
    assert here == [step for step in steps if step != "reflink" or forced == "reflink"]
    assert [ladder.of(name).name for name in ("overlay", "snapshot", "reflink", "cold", "")] == [
        "overlay", "snapshot", "reflink", "cold", "cold",
    ]  # fmt: skip
    assert told == []


def test_what_settings_want_and_cannot_be_is_told(repo: Repository, folders: StateFolders) -> None:
    remember(folders, {**dict.fromkeys(ORDER, ""), "snapshot": "no btrfs"})
    told = list[str]()
    ladder = ladder_of(repo, folders, forced="snapshot", tell=told.append)
    assert [rung and rung.name for rung in ladder.steps(visible=False)] == [None, "cold"]
    assert told == ["slots: the settings want snapshot, which is not possible: no btrfs"]


def test_the_doctor_says_what_the_ladder_does() -> None:
    obstacles: dict[str, str] = {**dict.fromkeys(ORDER, ""), "overlay": "no"}
    assert chosen(obstacles, "auto", visible=False) == "snapshot"
    assert chosen(obstacles, "warm", visible=True) == "warm"
    assert chosen({**obstacles, "snapshot": "no"}, "overlay", visible=False) == "warm"


def remember(folders: StateFolders, obstacles: dict[str, str]) -> None:
    probe(folders, {name: (lambda _, why=why: why) for name, why in obstacles.items()})  # type: ignore[misc]
