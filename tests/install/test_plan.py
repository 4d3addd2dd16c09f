"""An installation on a disk: cut off anywhere, brought up to date, beside clients that write too."""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from stratum_git.errors import HostError
from stratum_git.install import client_lock, disk
from stratum_git.install.assembly import Wanted, parts_of, parts_to_take
from stratum_git.install.bundle import Bundle
from stratum_git.install.places import Places, places_of
from stratum_git.install.plan import MovedError, Plan, carry_out, plan_install, plan_uninstall
from stratum_git.install.program import Program, program_of
from stratum_git.install.record import BadRecordError, Records
from stratum_git.install.refusing import Unusable
from stratum_git.install.section import PATTERNS, PROSE, is_changed, with_section, without_section
from stratum_git.install.shipped import Shipped

WANTED = Wanted("stratum", Program(("stratum-git",)))
FILES = (Shipped("skills/a/SKILL.md", b"a1"), Shipped("skills/b/run", b"#!/bin/sh\n", executable=True))


class Home:
    """A user's home with a client's files, and our records beside it."""

    def __init__(self, top: Path) -> None:
        self.top = top / "home"
        (self.top / ".claude").mkdir(parents=True)
        (self.top / ".claude.json").write_text('{"n": 1}')
        (self.top / ".claude/settings.json").write_text('{"hooks": {}, "model": "x"}\n')
        self.places: Places = places_of("user", {"HOME": str(self.top)}, None)
        self.records = Records(top / "records")
        self.records.folder.mkdir()

    def files(self) -> dict[str, bytes | None]:
        found = sorted(self.top.rglob("*"))
        return {str(p.relative_to(self.top)): p.read_bytes() if p.is_file() else None for p in found}

    def plan(self, *, forget: bool = False, bundle: Bundle | None = None) -> Plan:
        record = self.records.read("user", self.top)
        if bundle is not None:
            parts = bundle.parts_to_take(force=False) if forget else bundle.parts(force=False)
        else:
            parts = parts_to_take(self.places, WANTED) if forget else parts_of(self.places, WANTED)
        planned = plan_uninstall if forget else plan_install
        return planned(parts, self.places.bounds, record, self.records.kept)

    def carry_out(self, plan: Plan, *, forget: bool = False) -> None:
        record = self.records.read("user", self.top)
        carry_out(plan, "user", self.top, record, self.records, forget=forget)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def cut(plan: Plan, number: int) -> Plan:
    """Returns a plan that ends before its change *number*, as if it had been killed there."""
    rows = list(plan.changes)
    rows[number] = replace(rows[number], before=b"something else")
    return replace(plan, changes=tuple(rows))


def test_wherever_it_is_cut_off_it_is_finished_or_taken_back(home: Home) -> None:
    before = home.files()
    home.carry_out(home.plan())
    complete = home.files()
    home.carry_out(home.plan(forget=True), forget=True)
    assert home.files() == before
    count = len(home.plan().changes)
    assert count > 10
    for number in range(0, count, 4):
        with pytest.raises(MovedError):
            home.carry_out(cut(home.plan(), number))
        home.carry_out(home.plan(forget=True), forget=True)
        assert home.files() == before, number
        with pytest.raises(MovedError):
            home.carry_out(cut(home.plan(), number))
        home.carry_out(home.plan())
        assert home.files() == complete, number
        with pytest.raises(MovedError):
            home.carry_out(cut(home.plan(forget=True), number), forget=True)
        home.carry_out(home.plan(forget=True), forget=True)
        assert home.files() == before, number
    assert sorted(path.name for path in home.records.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("file", "made", "why"),
    [
        ("settings.json", '{"hooks": {},}', "line 1, column 13: a comma before }"),
        ("settings.json", "// mine\n{}", "JSON has no comments"),
        ("settings.json", '{"hooks": 1}', "hooks is no JSON object"),
        ("settings.json", '{"hooks": {"Stop": 1}}', "hooks.Stop is no list"),
        ("settings.json", '{"a": 1, "a": 2}', "is there twice"),
        ("settings.json", " " * (disk.LIMIT + 1), "it is larger than"),
        ("../.claude.json", "{", "ends too early"),
        ("../.claude.json", "[]", "it is no JSON object"),
        ("../.claude.json", '{"mcpServers": {"stratum": {"command": "other"}}}', "which is other"),
        ("../.claude.json", "\udcff", "is not UTF-8"),
        ("CLAUDE.md", "\udcff", "is not UTF-8"),
        ("CLAUDE.md", "<!-- stratum-git:begin 000000000000\n", "do not come once"),
        ("skills/stratum-plan/SKILL.md", "mine", "somebody else has a file there"),
        ("skills", "a file", "is no folder"),
        ("skills", "-> nowhere", "is a link to nothing"),
        ("skills", "-> /", "it is a link that leads out"),
        ("CLAUDE.md/x", "a folder", "it is no file"),
        ("CLAUDE.md", "-> /etc/hostname", "it is a link that leads out"),
        ("CLAUDE.md", "-> CLAUDE.md", "cannot be read"),
        ("CLAUDE.md", "-> nowhere", "it is a link to nothing"),
    ],
)
def test_what_cannot_be_edited_is_refused_with_a_hint(home: Home, file: str, made: str, why: str) -> None:
    path = home.top / ".claude" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    if made.startswith("-> "):
        path.symlink_to(made[3:])
    else:
        path.write_bytes(made.encode(errors="surrogateescape"))
    for forget in (False, True):
        refused = [refusal for refusal in home.plan(forget=forget).refusals if why in refusal.why]
        assert refused or (forget and (why.startswith(("some", "which")) or "skills" in file))
        assert all(refusal.hint for refusal in refused)


@pytest.mark.parametrize(
    "text", ["{", '{"files": {"skills/../../x": "0"}}', '{"files": {"settings.json": "0"}}']
)
def test_a_list_that_is_not_ours_is_refused(home: Home, text: str) -> None:
    home.places.manifest.write_text(text)
    with pytest.raises(Unusable, match="not what stratum-git wrote"):
        home.plan(forget=True)


def test_a_new_version_takes_the_place_of_an_old_one(home: Home) -> None:
    folder = home.top / ".claude"
    first = Bundle(folder, (home.top,), folder / "stratum-git.json", FILES)
    before = home.files()
    home.carry_out(home.plan(bundle=first))
    assert (folder / "skills/b/run").stat().st_mode & 0o111
    second = replace(first, files=(Shipped("skills/a/SKILL.md", b"a2"), Shipped("skills/c/SKILL.md", b"c")))
    (folder / "skills/b/run").write_bytes(b"mine")
    home.carry_out(home.plan(bundle=second))
    assert (folder / "skills/a/SKILL.md").read_bytes() == b"a2"
    assert (folder / "skills/b/run").read_bytes() == b"mine"
    assert sorted(second.known()) == ["skills/a/SKILL.md", "skills/c/SKILL.md"]
    (folder / "skills/a/SKILL.md").write_bytes(b"mine")
    home.carry_out(home.plan(bundle=first))
    assert (folder / "skills/a/SKILL.md").read_bytes() == b"mine"
    # What was changed and changed back is as it was written.
    (folder / "skills/a/SKILL.md").write_bytes(b"a2")
    home.carry_out(home.plan(bundle=first))
    assert (folder / "skills/a/SKILL.md").read_bytes() == b"a1"
    assert not (folder / "skills/c/SKILL.md").exists()
    (folder / "skills/b/run").unlink()
    home.carry_out(home.plan(forget=True, bundle=first), forget=True)
    assert home.files() == before


def test_what_the_client_writes_meanwhile_is_not_lost(home: Home) -> None:
    plan = home.plan()
    (home.top / ".claude.json").write_text('{"n": 2}')
    with pytest.raises(MovedError):
        home.carry_out(plan)
    home.carry_out(home.plan())
    assert json.loads((home.top / ".claude.json").read_bytes())["n"] == 2
    (home.top / ".claude.json").write_bytes((home.top / ".claude.json").read_bytes().replace(b"2", b"3"))
    home.carry_out(home.plan(forget=True), forget=True)
    assert (home.top / ".claude.json").read_bytes() == b'{"n": 3}'


def test_a_client_that_writes_is_waited_for(home: Home) -> None:
    place, lock = home.top / ".claude.json", home.top / ".claude.json.lock"
    lock.mkdir()
    began = time.monotonic()
    threading.Timer(0.2, lock.rmdir).start()
    home.carry_out(home.plan())
    assert time.monotonic() - began > 0.2
    with client_lock.client_lock(place):
        assert lock.is_dir()
    assert not lock.exists()
    lock.mkdir()
    long_ago = time.time() - client_lock.STALE - 1
    os.utime(lock, (long_ago, long_ago))
    with client_lock.client_lock(place):
        pass
    assert not lock.exists()


def test_a_damaged_record_is_named(home: Home) -> None:
    home.carry_out(home.plan())
    for kept in (home.records.folder / "before").iterdir():
        kept.write_bytes(b"other")
    with pytest.raises(BadRecordError, match="is damaged"):
        home.plan(forget=True)
    home.records.path("user", home.top).write_text("{")
    with pytest.raises(BadRecordError, match="cannot be read"):
        home.plan(forget=True)


def test_a_disk_that_refuses_is_a_failure_of_the_world(home: Home) -> None:
    with pytest.raises(HostError, match="cannot be written"):
        disk.write(home.top / "nowhere/x", b"")
    with pytest.raises(HostError, match="cannot be made"):
        disk.make_folders([home.top / ".claude.json/x"])


@pytest.mark.parametrize("text", ["", "x\n", "x\r\ny\r\n", "x\n\n", "\ufeffx\n"])
def test_a_section_comes_and_goes(text: str) -> None:
    for markers in (PROSE, PATTERNS):
        with_it = with_section(text.encode(), markers, "one\ntwo")
        assert with_section(with_it, markers, "one\ntwo") == with_it
        assert without_section(with_it, markers) == text.encode()
        newer = with_section(with_it + b"after\n", markers, "three")
        assert without_section(newer, markers) == text.encode() + b"after\n"
        assert (newer[newer.index(b"three") :][:5], with_it[with_it.index(b"two") :][:3]) == (
            b"three",
            b"two",
        )


def test_a_section_that_was_changed_is_left() -> None:
    changed = with_section(b"x\n", PROSE, "one").replace(b"one", b"mine")
    assert is_changed(changed, PROSE)
    assert with_section(changed, PROSE, "two") == changed
    assert without_section(changed, PROSE) == changed
    assert without_section(changed, PROSE, force=True) == b"x\n"
    assert without_section(with_section(changed, PROSE, "two", force=True), PROSE) == b"x\n"
    with pytest.raises(Unusable):
        with_section(changed + changed, PROSE, "two")


def test_the_program_is_named_so_that_others_find_it(tmp_path: Path) -> None:
    def script(folder: Path) -> str:
        folder.mkdir(parents=True)
        (folder / "stratum-git").write_text("#!/bin/sh\n")
        (folder / "stratum-git").chmod(0o755)
        return str(folder)

    plain, inside = script(tmp_path / "bin"), script(tmp_path / "venv/bin")
    (tmp_path / "venv/pyvenv.cfg").touch()
    assert program_of({"PATH": f"{inside}:{plain}"}).words == ("stratum-git",)
    assert program_of({"PATH": f"{inside}:{plain}"}).is_portable
    only = program_of({"PATH": inside})
    assert not only.is_portable
    assert Path(only.words[0]).is_absolute()
    assert "virtual environment" in only.remark
    assert program_of({"PATH": ""}, "'/a b/stratum-git' -x").words == ("/a b/stratum-git", "-x")
    assert program_of({"PATH": ""}, "'/a b/stratum-git'").shell == "'/a b/stratum-git'"
