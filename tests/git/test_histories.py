"""Random histories: a merge in memory is the one that ``git merge`` makes of them in a checkout.

Both sides change a few things of what was there: lines, names, folders, modes, kinds, attributes.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.merging import (
    LINK,
    MODULE,
    PLAIN,
    RUNS,
    File,
    Files,
    import_sides,
    merged_in_a_checkout,
    merged_in_memory,
)
from tests.support.repos import ScratchRepo

FOLDERS = ("", "d/", "d/in/", "e/", "f/g/")
NAMES = tuple(f"{folder}{name}" for folder in FOLDERS for name in ("a", "b", "c", "A"))
LINES = 12
Work = dict[str, File]
Step = Callable[[Work], None]


def text(seed: int, changed: int = -1, to: str = "") -> bytes:
    """Returns lines that are like those of no other seed, but for one."""
    return "".join(f"{to if n == changed else f'{seed} {n}'}\n" for n in range(LINES)).encode()


def edited(path: int, at: int, to: str) -> Step:
    def step(files: Work) -> None:
        name = sorted(files)[path % len(files)] if files else ""
        mode, data = files.get(name, (LINK, b""))
        if mode in (PLAIN, RUNS):
            lines = data.split(b"\n")
            lines[at % len(lines)] = to.encode()
            files[name] = (mode, b"\n".join(lines))

    return step


def deleted(path: int) -> Step:
    def step(files: Work) -> None:
        if files:
            del files[sorted(files)[path % len(files)]]

    return step


def put(name: str, file: File) -> Step:
    def step(files: Work) -> None:
        for other in [o for o in files if o.startswith(f"{name}/") or name.startswith(f"{o}/")]:
            del files[other]
        files[name] = file

    return step


def moved(path: int, to: str) -> Step:
    def step(files: Work) -> None:
        if files:
            put(to, files.pop(sorted(files)[path % len(files)]))(files)

    return step


def folder_moved(folder: str, to: str) -> Step:
    def step(files: Work) -> None:
        for name in [name for name in files if name.startswith(folder)]:
            put(to + name.removeprefix(folder), files.pop(name))(files)

    return step


def mode_changed(path: int, mode: str) -> Step:
    def step(files: Work) -> None:
        name = sorted(files)[path % len(files)] if files else ""
        if files.get(name, (LINK, b""))[0] in (PLAIN, RUNS):
            files[name] = (mode, files[name][1])

    return step


index = st.integers(0, 30)
names = st.sampled_from(NAMES)
places = st.one_of(names, st.sampled_from(["d", "e/a/deeper", "new/x", "new/y"]))
seeds = st.integers(0, 6)
files = st.one_of(
    st.builds(lambda seed: (PLAIN, text(seed)), seeds),
    st.builds(
        lambda seed, n, to: (PLAIN, text(seed, n, to)),
        seeds,
        st.integers(0, LINES - 1),
        st.text("xy", max_size=2),
    ),
    st.sampled_from(
        [(PLAIN, b""), (RUNS, text(1)), (LINK, b"a"), (LINK, b"b"), (PLAIN, b"\0binary"), (PLAIN, b"\0other")]
    ),
    st.sampled_from([(MODULE, b"1" * 40), (MODULE, b"2" * 40)]),
)
rules = st.sampled_from(
    [b"* merge=union\n", b"* -merge\n", b"a merge=union\nb -merge\n", b"in/* merge=binary\n", b""]
)
attributes = st.builds(
    put, st.sampled_from([".gitattributes", "d/.gitattributes"]), rules.map(lambda r: (PLAIN, r))
)
steps = st.one_of(
    st.builds(edited, index, st.integers(0, LINES - 1), st.sampled_from(["ours", "theirs", "1 1"])),
    st.builds(edited, index, st.integers(0, LINES - 1), st.sampled_from(["ours", "theirs", "1 1"])),
    st.builds(deleted, index),
    st.builds(put, places, files),
    st.builds(moved, index, places),
    st.builds(folder_moved, st.sampled_from(FOLDERS[1:]), st.sampled_from(["e/", "h/", "d/h/", "d/", ""])),
    st.builds(mode_changed, index, st.sampled_from([PLAIN, RUNS])),
    attributes,
)  # fmt: skip
bases = st.dictionaries(names, st.builds(lambda seed: (PLAIN, text(seed)), seeds), min_size=2, max_size=10)
sides = st.lists(steps, min_size=1, max_size=4)
variants = st.sampled_from(
    [
        {},
        {},
        {"merge.directoryRenames": "true"},
        {"merge.conflictStyle": "diff3"},
        {"merge.renormalize": "true"},
    ]
)


def become(before: Files, work: list[Step]) -> Files:
    after = dict(before)
    for step in work:
        step(after)
    return after


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> ScratchRepo:
    return ScratchRepo.make(tmp_path_factory.mktemp("histories") / "repo", "--template=")


def compare(
    place: ScratchRepo, base: Files, mine: list[Step], other: list[Step], variant: dict[str, str]
) -> None:
    import_sides(
        place, base, become(base, mine), become(base, other), {".gitattributes": (PLAIN, b"* -merge\n")}
    )
    place.git("checkout", "-q", "-f", "--detach", "elsewhere")
    for key in ("merge.directoryRenames", "merge.conflictStyle", "merge.renormalize"):
        place.git("config", *(("--unset", key) if key not in variant else (key, variant[key])), check=False)
    found = merged_in_memory(place, shortcut=True)
    assert found == merged_in_a_checkout(place)


MEETING = ({"e/a": (PLAIN, text(0)), "a": (PLAIN, text(1))}, folder_moved("e/", "h/"), edited(1, 0, "1 1"))
"""Files that meet by renames, of which git says that they conflict, and exits as if they did not."""


@example(MEETING[0], [*MEETING[1:]], [*MEETING[1:], moved(0, "e/a")], {})
@settings(max_examples=45, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bases, sides, sides, variants)
def test_any_history_merges_as_in_a_checkout(
    place: ScratchRepo, base: Files, mine: list[Step], other: list[Step], variant: dict[str, str]
) -> None:
    compare(place, base, mine, other, variant)


@pytest.mark.soak
@settings(max_examples=5000, deadline=None, suppress_health_check=list(HealthCheck))
@given(bases, sides, sides, variants)
def test_many_histories_merge_as_in_a_checkout(
    place: ScratchRepo, base: Files, mine: list[Step], other: list[Step], variant: dict[str, str]
) -> None:
    compare(place, base, mine, other, variant)
