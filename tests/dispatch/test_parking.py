"""What a parked conflict says is read as it was written, whatever its paths are called."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from stratum_git.dispatch.parking import Case, cases_of, message_of, notes_of, told_by
from stratum_git.git.merge import Conflicted, Stage
from stratum_git.git.objects import ObjectWriter, Signature
from stratum_git.git.repository import Repository
from stratum_git.model.ids import Oid
from stratum_git.model.messages import Mend
from stratum_git.store.resolutions import Triple

A, B, C, TREE = (Oid(letter * 40) for letter in "abcd")
TRAILERS = "Stratum-Flow: f\nStratum-Task: t\n"
# As paths are read from git: any bytes but NUL.
paths = st.binary(min_size=1, max_size=30).map(
    lambda raw: raw.replace(b"\0", b"x").decode("utf-8", "surrogateescape")
)
stages = st.builds(Stage, paths, st.just("100644"), st.sampled_from([A, B, C]), st.sampled_from([1, 2, 3]))
mends = st.builds(
    Mend, paths, st.sampled_from(["driver", "memory"]), st.sampled_from(["", "mergiraf 1", "x (y)"])
)


def content(path: str) -> str:
    return f"CONFLICT (content): Merge conflict in {path}"


@given(
    st.lists(stages, max_size=4).map(tuple),
    st.lists(mends, max_size=3).map(tuple),
    st.lists(mends, max_size=2).map(tuple),
)
def test_what_is_parked_is_read_as_it_was(
    found: tuple[Stage, ...], mended: tuple[Mend, ...], tried: tuple[Mend, ...]
) -> None:
    messages = "\n".join(content(stage.path) for stage in found)
    conflict = Conflicted(TREE, tuple(s.path for s in found), found, messages, mended, tried)
    # As a commit keeps it.
    message = message_of("b: Add it", conflict, TRAILERS).replace("\0", " ").encode().decode()
    told = told_by(message)
    assert (told.title, told.stages, told.mends, told.tried) == ("b: Add it", found, mended, tried)
    assert told.trailers["Stratum-Task"] == "t"


def test_what_was_parked_by_an_older_version_is_read() -> None:
    rows = f"100644 {A} 1\td/a b.txt\n100644 {B} 2\td/a b.txt\n100755 {C} 3\td/a b.txt"
    told = told_by(f"Conflict: t: Do it\n\n{content('d/a b.txt')}\n\n{rows}\n\n{TRAILERS}")
    assert told.messages == content("d/a b.txt")
    assert cases_of(told.stages, told.messages) == (
        Case("d/a b.txt", "content", Triple(("100644", A), ("100644", B), ("100755", C))),
    )


def test_who_names_a_file_cannot_forge_stages() -> None:
    evil = (
        f"x\n\n100644 {A} 1\tm.py\n100644 {B} 2\tm.py\n100644 {C} 3\tm.py\n\nStratum-Mended: m.py (person me)"
    )
    for found in ((), (Stage(evil, "100644", A, 2),)):
        told = told_by(message_of("t", Conflicted(TREE, (evil,), found, content(evil)), TRAILERS))
        assert (told.stages, told.mends) == (found, ())
        assert cases_of(told.stages, told.messages) == ()
    assert told_by("Merge branch 'x'\n").stages == ()


@pytest.mark.parametrize(
    ("messages", "kinds"),
    [
        ([content("m.py")], ["content"]),
        (["CONFLICT (add/add): Merge conflict in m.py"], ["add/add"]),
        (
            ["CONFLICT (modify/delete): m.py deleted in x and modified in y.  Version y left in tree."],
            ["modify/delete"],
        ),
        (["warning: Cannot merge binary files: m.py (x vs. y)", content("m.py")], ["content"]),
        ([content("m.py"), "CONFLICT (rename/rename): m.py renamed to a in x and to b in y."], []),
        ([content("m.py"), content("other.py")], ["content"]),
        (
            ["CONFLICT (file/directory): directory in the way of m.py from x; moving it to m.py~x instead."],
            [],
        ),
        ([content("d/m.py")], []),
        ([], []),
    ],
)
def test_a_case_is_what_conflicts_by_itself(messages: list[str], kinds: list[str]) -> None:
    found = (Stage("m.py", "100644", A, 2), Stage("m.py", "100644", B, 3))
    assert [case.kind for case in cases_of(found, "\n".join(messages))] == kinds


def test_who_mended_what_stands_in_trailers_that_git_reads(repo: Repository, writer: ObjectWriter) -> None:
    me = Signature("Tess Ter", "tess@x", 1.0)
    notes = "".join(f"{key}: {value}\n" for key, value in notes_of([Mend("a b.py", "driver", "x\nEvil: 1")]))
    commit = writer.commit(writer.tree({}), (), f"t: Do\n\n{TRAILERS}{notes}", me, me)
    said = repo.git.run("log", "-1", "--format=%(trailers:unfold)", commit).stdout.decode()
    assert said.strip() == f'{TRAILERS}Stratum-Mended: "a b.py" (driver x Evil: 1)'
