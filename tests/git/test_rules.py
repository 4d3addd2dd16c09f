"""Where rules are said to say nothing of a path, git says so too."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stratum_git.git.process import processes_started
from stratum_git.git.programs import LINK, nested_in
from stratum_git.git.rules import ATTRIBUTES, IGNORING, Surroundings, Unclear, converting, ignoring
from tests.support.repos import ScratchRepo

NAMES = ("a", "b", "ab", "a.o", "b.py", "build", "A", "a-b", "a.b.o", "_", "x.pyc")
PIECES = (
    "*", "**", "?", "/", "/", "[ab]", "[!a]", "[^b]", "[a-c]", "[[:alpha:]]", "[]a]", "[a/]", "[", "]", "[!]",
    "\\", "\\*", " ", "\t", "!", "#", ".", "o", ".o", "*.py[cod]", '"', "\r", "é", *NAMES,
)  # fmt: skip
patterns = st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join)
files = st.lists(patterns, max_size=5)
paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map("/".join)


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> ScratchRepo:
    """A repository in which there is nothing."""
    return ScratchRepo.make(tmp_path_factory.mktemp("rules") / "repo")


def asked(repo: ScratchRepo, *words: str, names: list[str]) -> list[bytes]:
    stdin = b"".join(os.fsencode(name) + b"\0" for name in names)
    done = subprocess.run(["git", *words], cwd=repo.path, input=stdin, capture_output=True, check=False)
    return done.stdout.split(b"\0")[:-1]


def quiet(around: Surroundings, path: str) -> bool:
    try:
        return around.say_nothing(path)
    except Unclear:
        return False


def compare(repo: ScratchRepo, top: list[str], inner: list[str], names: list[str]) -> None:
    """Writes the same patterns as rules of both kinds, at the top and in a folder, and asks git."""
    (repo.path / "a").mkdir(exist_ok=True)
    for place, rules in (("", top), ("a/", inner)):
        repo.write(f"{place}{IGNORING}", "\n".join(rules).encode())
        repo.write(f"{place}{ATTRIBUTES}", "\n".join(f"{rule} filter=x" for rule in rules).encode())
    names = sorted(
        {*names, *(name for path in names for name in map(str, Path(path).parents) if name != ".")}
    )
    ignored = asked(repo, "check-ignore", "--no-index", "-z", "--stdin", names=names)
    said = asked(repo, "check-attr", "-z", "--stdin", "filter", names=names)
    filtered = {path for path, value in zip(said[::3], said[2::3], strict=True) if value != b"unspecified"}
    for kind, found in ((IGNORING, {*ignored}), (ATTRIBUTES, filtered)):
        around = Surroundings(str(repo.path), kind, ())
        assert not [name for name in names if os.fsencode(name) in found and quiet(around, name)]


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(top=files, inner=files, names=st.lists(paths, min_size=1, max_size=12))
def test_where_no_rule_may_match_git_says_so(
    repo: ScratchRepo, top: list[str], inner: list[str], names: list[str]
) -> None:
    compare(repo, top, inner, names)


@pytest.mark.soak
@settings(max_examples=5000, deadline=None, suppress_health_check=list(HealthCheck))
@given(top=files, inner=files, names=st.lists(paths, min_size=1, max_size=12))
def test_where_no_rule_of_very_many_may_match_git_says_so(
    repo: ScratchRepo, top: list[str], inner: list[str], names: list[str]
) -> None:
    compare(repo, top, inner, names)


def test_what_projects_ignore_says_nothing_of_their_sources() -> None:
    rules = ignoring(
        b"__pycache__/\n*.py[cod]\n/build/\n.venv\n*.egg-info/\n# some\n!keep.py\n\n[Bb]in/\n**/[Pp]ack/*\n"
    )
    for path, may in (
        ("src/app/main.py", False), ("main.pyc", True), ("a/__pycache__/b.py", True), ("rebuild/x", False),
        ("build/x", True), ("bin/x", True), ("lib/pack/x", True), ("lib/packed/x", False),
    ):  # fmt: skip
        assert rules.may_match(path.encode().split(b"/")) is may, path


def test_only_what_names_a_filter_counts_among_attributes() -> None:
    rules = converting(
        b"* text=auto\n*.psd filter=lfs -text\n*.wide working-tree-encoding=UTF-16\n*.sh eol=lf\n"
    )
    assert [rules.may_match([name]) for name in (b"a.py", b"a.psd", b"a.wide", b"a.sh")] == [
        False, True, True, False,
    ]  # fmt: skip
    with pytest.raises(Unclear):
        converting(b"[attr]large filter=lfs\n*.bin large\n")
    # Of a line that is too long an older git makes two.
    with pytest.raises(Unclear):
        converting(b"*.txt " + b"-text " * 340 + b"*.py filter=lfs\n")


@pytest.mark.parametrize("strange", ["pipe", "link", "folder"])
def test_a_file_of_rules_that_is_none_is_left_to_git(tmp_path: Path, strange: str) -> None:
    place = tmp_path / IGNORING
    if strange == "pipe":
        os.mkfifo(place)
    elif strange == "link":
        place.symlink_to("elsewhere")
    else:
        place.mkdir()
    with pytest.raises(Unclear):
        Surroundings(str(tmp_path), IGNORING, ()).say_nothing("a")


def test_the_number_of_a_file_is_not_taken_for_the_mode_of_a_link(tmp_path: Path) -> None:
    scratch = ScratchRepo.make(tmp_path / "repo")
    scratch.commit("first", {"a": "a\n"})
    inner = ScratchRepo.make(scratch.path / "inner").path
    index = scratch.path / ".git" / "index"
    data = bytearray(index.read_bytes())
    data[12 + 20 : 12 + 24] = LINK
    index.write_bytes(data)
    started = processes_started()
    assert nested_in(scratch.path, index) == ()
    data[12 + 24 : 12 + 28] = LINK
    index.write_bytes(data)
    assert nested_in(scratch.path, index) == (inner,)
    assert processes_started() == started
