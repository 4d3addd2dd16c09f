"""What is worth remembering of a resolution, and what is not."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from stratum_git.app.surroundings import Surroundings
from stratum_git.app.workshop import make_context
from stratum_git.dispatch.context import Context
from stratum_git.dispatch.parking import message_of
from stratum_git.dispatch.remembering import remember
from stratum_git.git.grafting import entry_at, graft
from stratum_git.git.merge import Conflicted, Merged
from stratum_git.model.ids import Oid
from stratum_git.store.resolutions import Provenance, Side
from tests.support.repos import ScratchRepo

WHENCE = Provenance("agent", "agent fixer", "flow-1", "build", "b", 2.0)
LONG = "".join(f"{n}\n" for n in range(30))
Files = dict[str, str]


@pytest.fixture
def context(scratch: ScratchRepo) -> Iterator[Context]:
    around = Surroundings(scratch.path, dict(os.environ))
    made = make_context(around, around.repository(), ())
    yield made
    made.close()


def tree_of(context: Context, files: Files) -> Oid:
    empty = context.writer.tree({})
    entries: dict[str, Side] = {
        name: ("100644", context.writer.blob(text.encode())) for name, text in files.items()
    }
    return graft(context.merger.trees, context.writer, empty, entries)


def parked(context: Context, base: Files, ours: Files, theirs: Files) -> tuple[Oid, Oid]:
    """Returns the commit of a conflict, and its tree."""
    found = context.ladder.merge(*(tree_of(context, files) for files in (base, ours, theirs)))
    assert isinstance(found, Conflicted)
    message = message_of("b: Do it", found, "Stratum-Task: b\n")
    return context.writer.commit(found.tree, (), message, context.identity, context.identity), found.tree


def resolved(context: Context, parked: Oid, changes: dict[str, str | None]) -> Oid:
    entries: dict[str, Side] = {
        name: None if text is None else ("100644", context.writer.blob(text.encode()))
        for name, text in changes.items()
    }
    return graft(context.merger.trees, context.writer, parked, entries)


EDITED: tuple[Files, Files, Files] = ({"m.c": "a\n"}, {"m.c": "b\n"}, {"m.c": "c\n"})
ADDED: tuple[Files, Files, Files] = ({"k": "k\n"}, {"k": "k\n", "d/m.c": "b\n"}, {"k": "k\n", "d/m.c": "c\n"})
DELETED: tuple[Files, Files, Files] = (
    {"k": "k\n", "m.c": "a\nx\n"}, {"k": "k\n"}, {"k": "k\n", "m.c": "a\ny\n"},
)  # fmt: skip
RENAMED: tuple[Files, Files, Files] = ({"m.c": LONG}, {"n.c": LONG + "b\n"}, {"o.c": LONG + "c\n"})
SEVERAL: tuple[Files, Files, Files] = (
    {"m.c": "a\n", "n.c": "A\n"}, {"m.c": "b\n", "n.c": "B\n"}, {"m.c": "c\n", "n.c": "C\n"},
)  # fmt: skip


@pytest.mark.parametrize(
    ("versions", "changes", "paths"),
    [
        # What was resolved is remembered, also beside other changes that it took.
        (EDITED, {"m.c": "bc\n"}, ["m.c"]),
        (EDITED, {"m.c": "bc\n", "new.c": "n\n"}, ["m.c"]),
        (ADDED, {"d/m.c": "bc\n"}, ["d/m.c"]),
        (SEVERAL, {"m.c": "bc\n", "n.c": "BC\n"}, ["m.c", "n.c"]),
        (SEVERAL, {"n.c": "BC\n"}, ["n.c"]),
        # Markers that are still there, or nothing done at all, are no answer.
        (EDITED, {}, []),
        (EDITED, {"m.c": "<<<<<<< x\nb\n>>>>>>> y\n"}, []),
        # A file that is gone may have gone elsewhere; where one side had deleted it, it may be the answer.
        (EDITED, {"m.c": None}, []),
        (DELETED, {"m.c": None}, ["m.c"]),
        (DELETED, {}, ["m.c"]),
        (DELETED, {"m.c": None, "n": "a\ny\n"}, []),
        # A rename to two names is no conflict of one file.
        (RENAMED, {"n.c": LONG, "o.c": None}, []),
    ],
)
def test_what_answers_a_conflict_by_itself_is_remembered(
    context: Context, versions: tuple[Files, Files, Files], changes: dict[str, str | None], paths: list[str]
) -> None:
    conflict, tree = parked(context, *versions)
    result = resolved(context, tree, changes)
    found = remember(context, conflict, result, WHENCE)
    assert [one.path for one in found] == paths
    assert list(context.ladder.memory.every()) == sorted(found, key=lambda one: one.path)
    # Doing it again changes nothing.
    tip = context.repo.git.run("for-each-ref", "refs/stratum/resolutions").stdout
    assert remember(context, conflict, result, WHENCE) == found
    assert context.repo.git.run("for-each-ref", "refs/stratum/resolutions").stdout == tip
    again = context.ladder.merge(*(tree_of(context, files) for files in versions))
    if paths == sorted(changes) and len(paths) == len([name for name in versions[2] if name != "k"]):
        assert isinstance(again, Merged)
        assert again.tree == result
        assert [(mend.rung, mend.path) for mend in again.mends] == [("memory", path) for path in paths]
    for path in paths:
        entry = entry_at(context.merger.trees, again.tree, path)
        assert entry == entry_at(context.merger.trees, result, path)


def test_the_same_three_sides_are_the_same_conflict_wherever_they_are(context: Context) -> None:
    conflict, tree = parked(context, *EDITED)
    remember(context, conflict, resolved(context, tree, {"m.c": "bc\n"}), WHENCE)
    versions = [{f"d/{name}": text for name, text in files.items()} for files in EDITED]
    found = context.ladder.merge(*(tree_of(context, files) for files in versions))
    assert isinstance(found, Merged)
    assert [mend.path for mend in found.mends] == ["d/m.c"]
