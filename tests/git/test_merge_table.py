"""Each kind of merge beside ``git merge`` in a checkout: the same tree, or the same conflict to the byte.

The checkout that the program stands in is at another commit meanwhile, which says of every file that it is
not to be merged: whoever reads attributes there is found out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

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

LONG = "".join(f"line {n}\n" for n in range(30))
OTHER = "".join(f"another {n}\n" for n in range(30))
CRLF = LONG.replace("\n", "\r\n")
TOOL = """#!/bin/sh
# A merge driver in the checkout: $1 base, $2 ours and the result, $3 theirs.
{ printf '%s %s\\n' "$4" "$5"; cat "$1" "$2" "$3"; test -d .git && echo "at the top"; } > "$2.new"
mv "$2.new" "$2"
"""
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12345\n"
Content = str | bytes | File | None
"""What is in a file, or mode and content; ``None`` where it is deleted."""


@dataclass(frozen=True)
class Row:
    base: Mapping[str, Content]
    ours: Mapping[str, Content]
    theirs: Mapping[str, Content]
    settings: tuple[tuple[str, str], ...] = ()
    info: str = ""
    clean: bool | None = None
    mine: str = field(default="")


def line(number: int, to: str, text: str = LONG) -> str:
    return text.replace(f"line {number}\n", f"{to}\n")


def moved(old: str, new: str, content: Content = LONG) -> dict[str, Content]:
    return {old: None, new: content}


FOLDER = {"d/a": LONG + "a\n", "d/b": LONG + "b\n", "d/in/c": LONG + "c\n", "x": "x\n"}
GONE = {"d/a": None, "d/b": None, "d/in/c": None}
RENAMED = GONE | {"e/a": FOLDER["d/a"], "e/b": FOLDER["d/b"], "e/in/c": FOLDER["d/in/c"]}
SAME_LINE = ({"f": LONG}, {"f": line(3, "ours")}, {"f": line(3, "theirs")})
APART = ({"f": LONG}, {"f": line(3, "ours")}, {"f": line(23, "theirs")})
ENDINGS = ({"f": LONG}, {"f": line(3, "ours").replace("\n", "\r\n")}, {"f": line(23, "theirs")})
MERGING = ".gitattributes"


def with_attributes(text: str, row: tuple[Mapping[str, Content], ...], **more: object) -> Row:
    base, ours, theirs = row
    return Row({**base, MERGING: text}, ours, theirs, **more)  # type: ignore[arg-type]  # of one table


TABLE: dict[str, Row] = {
    "apart": Row(*APART, clean=True),
    "same line": Row(*SAME_LINE, clean=False),
    "other files": Row({"f": LONG, "g/h": "1\n"}, {"f": "1\n"}, {"g/h": "2\n", "g/i/j": "3\n"}, clean=True),
    # Renames.
    "rename and edit": Row({"f": LONG}, moved("f", "g"), {"f": line(3, "theirs")}, clean=True),
    "edit and rename": Row({"f": LONG}, {"f": line(3, "ours")}, moved("f", "g"), clean=True),
    "rename and edit of one line": Row(
        {"f": LONG}, moved("f", "g", line(3, "ours")), {"f": line(3, "theirs")}, clean=False
    ),
    "rename to two names": Row({"f": LONG}, moved("f", "g"), moved("f", "h"), clean=False),
    "rename to two names, changed": Row(
        {"f": LONG}, moved("f", "g", line(1, "1")), moved("f", "h", line(9, "9")), clean=False
    ),
    "two renames to one name": Row(
        {"f": LONG, "g": OTHER}, moved("f", "h"), moved("g", "h", OTHER), clean=False
    ),
    "two renames to one name, changed": Row(
        {"f": LONG, "g": OTHER},
        {**moved("f", "h"), "g": OTHER + "o\n"},
        {**moved("g", "h", OTHER), "f": LONG + "t\n"},
    ),
    "rename and delete": Row({"f": LONG}, moved("f", "g"), {"f": None}, clean=False),
    "rename and add": Row({"f": LONG, "x": "x\n"}, moved("f", "g"), {"g": OTHER}, clean=False),
    "both rename alike": Row({"f": LONG}, moved("f", "g"), moved("f", "g"), clean=True),
    "both rename alike, one edits": Row(
        {"f": LONG}, moved("f", "g"), moved("f", "g", line(3, "x")), clean=True
    ),
    "rename beside a change": Row({"f": LONG, "x": "x\n"}, moved("f", "g"), {"x": "y\n"}, clean=True),
    "rename, and a file under the old name": Row(
        {"f": LONG}, moved("f", "g"), {"f": line(3, "theirs"), "g2": "new\n"}, clean=True
    ),
    "added alike, renamed elsewhere": Row(
        {"f": LONG, "x": "x\n"}, {**moved("f", "g"), "n": OTHER}, {"n": OTHER, "x": "y\n"}, clean=True
    ),
    "names swapped": Row({"f": LONG, "g": OTHER}, {"f": OTHER, "g": LONG}, {"f": line(3, "theirs")}),
    "more renames than the limit": Row(
        {f"{n}": f"{LONG}{n}\n" for n in range(6)},
        {f"{n}": None for n in range(6)} | {f"to{n}": f"{LONG}{n}\nmore\n" for n in range(6)},
        {f"{n}": f"{line(3, 'theirs')}{n}\n" for n in range(6)},
        settings=(("diff.renameLimit", "2"),),
        clean=False,
    ),
    "renames switched off": Row(
        {"f": LONG}, moved("f", "g"), {"f": line(3, "theirs")}, settings=(("merge.renames", "false"),)
    ),
    # Folders that are renamed.
    "folder renamed, file added": Row(FOLDER, RENAMED, {"d/new": "new\n"}, clean=False),
    "file added, folder renamed": Row(FOLDER, {"d/new": "new\n"}, RENAMED, clean=False),
    "folder renamed, file added, allowed": Row(
        FOLDER, RENAMED, {"d/new": "new\n"}, settings=(("merge.directoryRenames", "true"),), clean=True
    ),
    "folder renamed, file added, switched off": Row(
        FOLDER, RENAMED, {"d/new": "new\n"}, settings=(("merge.directoryRenames", "false"),), clean=True
    ),
    "folder renamed, file added below": Row(FOLDER, RENAMED, {"d/in/new": "new\n"}, clean=False),
    "folder renamed, file moved into it": Row(
        FOLDER | {"f": OTHER}, RENAMED, moved("f", "d/f", OTHER), clean=False
    ),
    "folder renamed, its files edited": Row(FOLDER, RENAMED, {"d/a": LONG + "A\n"}),
    "folder renamed, change elsewhere": Row(FOLDER, RENAMED, {"x": "y\n"}, clean=True),
    "folder split": Row(
        FOLDER,
        GONE | {"e/a": FOLDER["d/a"], "g/b": FOLDER["d/b"], "e/in/c": FOLDER["d/in/c"]},
        {"d/new": "new\n"},
    ),
    "folder split in halves": Row(
        FOLDER,
        {"d/a": None, "d/b": None, "e/a": FOLDER["d/a"], "g/b": FOLDER["d/b"]},
        {"d/new": "new\n"},
        clean=True,
    ),
    "both rename a folder": Row(
        FOLDER, RENAMED, {p.replace("e/", "g/"): c for p, c in RENAMED.items()}, clean=False
    ),
    "folder renamed into the other": Row(FOLDER, RENAMED, {"e/a": "in the way\n", "d/n": "n\n"}, clean=False),
    # One is gone.
    "modify and delete": Row({"f": LONG, "x": "x"}, {"f": line(3, "ours")}, {"f": None}, clean=False),
    "delete and modify": Row({"f": LONG, "x": "x"}, {"f": None}, {"f": line(3, "theirs")}, clean=False),
    "both delete": Row({"f": LONG, "x": "x"}, {"f": None}, {"f": None, "y": "y"}, clean=True),
    "all is deleted": Row({"f": LONG, "g": "g"}, {"f": None}, {"g": None}, clean=True),
    "the last in a folder": Row(
        {"d/e/f": LONG, "d/e/g": "g", "x": "x"}, {"d/e/f": None}, {"d/e/g": None}, clean=True
    ),
    # Added on both sides.
    "add and add": Row({"x": "x"}, {"f": LONG}, {"f": line(3, "theirs")}, clean=False),
    "add and add alike": Row({"x": "x"}, {"f": LONG, "g": "g"}, {"f": LONG}, clean=True),
    "add and add of other kinds": Row({"x": "x"}, {"f": LONG}, {"f": (LINK, b"x")}, clean=False),
    "a file and a folder": Row({"x": "x"}, {"f": "file\n"}, {"f/g": "folder\n"}, clean=False),
    "a folder and a file": Row({"x": "x"}, {"f/g": "folder\n"}, {"f": "file\n"}, clean=False),
    "a file becomes a folder": Row(
        {"f": LONG}, {"f": None, "f/g": OTHER}, {"f": line(3, "theirs")}, clean=False
    ),
    # Modes.
    "mode and content": Row({"f": LONG}, {"f": (RUNS, LONG.encode())}, {"f": line(3, "theirs")}, clean=True),
    "modes of an added file": Row({"x": "x"}, {"f": LONG}, {"f": (RUNS, LONG.encode())}, clean=False),
    "mode against delete": Row({"f": LONG, "x": "x"}, {"f": (RUNS, LONG.encode())}, {"f": None}, clean=False),
    "mode and rename": Row({"f": LONG}, {"f": (RUNS, LONG.encode())}, moved("f", "g"), clean=True),
    # What is no text.
    "binaries": Row({"f": b"\0base"}, {"f": b"\0ours"}, {"f": b"\0theirs"}, clean=False),
    "a binary on one side": Row({"f": b"\0base"}, {"f": b"\0ours"}, {"x": "x"}, clean=True),
    "links": Row({"f": (LINK, b"a")}, {"f": (LINK, b"b")}, {"f": (LINK, b"c")}, clean=False),
    "a link and a file": Row({"f": LONG}, {"f": (LINK, b"b")}, {"f": line(3, "theirs")}, clean=False),
    "a link on one side": Row({"f": (LINK, b"a"), "x": "x"}, {"f": (LINK, b"b")}, {"x": "y"}, clean=True),
    "submodules": Row(
        {"m": (MODULE, b"1" * 40)}, {"m": (MODULE, b"2" * 40)}, {"m": (MODULE, b"3" * 40)}, clean=False
    ),
    "a submodule on one side": Row(
        {"m": (MODULE, b"1" * 40), "x": "x"}, {"m": (MODULE, b"2" * 40)}, {"x": "y"}, clean=True
    ),
    "a submodule and a file": Row({"x": "x"}, {"m": (MODULE, b"2" * 40)}, {"m": "file\n"}, clean=False),
    "a submodule and a folder": Row({"x": "x"}, {"m": (MODULE, b"2" * 40)}, {"m/f": "file\n"}, clean=False),
    # Line endings.
    "other line endings": Row(*ENDINGS, clean=False),
    "other line endings, renormalized": with_attributes(
        "* text=auto\n", ENDINGS, settings=(("merge.renormalize", "true"),), clean=True
    ),
    "renormalized by attributes that theirs adds": Row(
        ENDINGS[0],
        ENDINGS[1],
        {**ENDINGS[2], MERGING: "* text=auto\n"},
        settings=(("merge.renormalize", "true"),),
    ),
    "renormalized against a deletion": with_attributes(
        "* text=auto\n", ({"f": LONG}, {"f": CRLF}, {"f": None}), settings=(("merge.renormalize", "true"),)
    ),
    "CRLF, same line": Row(
        {"f": CRLF},
        {"f": CRLF.replace("line 3\r", "ours\r")},
        {"f": CRLF.replace("line 3\r", "theirs\r")},
        clean=False,
    ),
    "autocrlf": Row(*SAME_LINE, settings=(("core.autocrlf", "true"),), clean=False),
    "checked out with CRLF": with_attributes("* text eol=crlf\n", SAME_LINE, clean=False),
    # Attributes, which are those of our side.
    "union": with_attributes("f merge=union\n", SAME_LINE, clean=True),
    "binary by attribute": with_attributes("f -merge\n", APART, clean=False),
    "ours takes union away": Row(
        {**SAME_LINE[0], MERGING: "f merge=union\n"},
        {**SAME_LINE[1], MERGING: "f merge=text\n"},
        SAME_LINE[2],
        clean=False,
    ),
    "ours brings union": Row(
        SAME_LINE[0], {**SAME_LINE[1], MERGING: "f merge=union\n"}, SAME_LINE[2], clean=True
    ),
    "theirs brings union": Row(
        SAME_LINE[0], SAME_LINE[1], {**SAME_LINE[2], MERGING: "f merge=union\n"}, clean=False
    ),
    "attributes of a folder": Row(
        {"d/e/f": LONG, "d/.gitattributes": "e/f merge=union\n", MERGING: "f -merge\n"},
        {"d/e/f": line(3, "ours")},
        {"d/e/f": line(3, "theirs")},
        clean=True,
    ),
    "attributes of the renamed": Row(
        {"f": LONG, MERGING: "g merge=union\n"},
        moved("f", "g", line(3, "ours")),
        {"f": line(3, "theirs")},
        clean=True,
    ),
    "attributes that are a link": Row(
        {**SAME_LINE[0], MERGING: (LINK, b"real"), "real": "f merge=union\n"},
        SAME_LINE[1],
        SAME_LINE[2],
        clean=False,
    ),
    "attributes of the repository": Row(*SAME_LINE, info="f merge=union\n", clean=True),
    "attributes of the user": Row(
        *SAME_LINE, settings=(("core.attributesFile", ".git/mine"),), mine="f merge=union\n"
    ),
    "macro": with_attributes("[attr]joined merge=union\nf joined\n", SAME_LINE, clean=True),
    "size of markers": with_attributes("f conflict-marker-size=20\n", SAME_LINE, clean=False),
    "a driver in the checkout": with_attributes(
        "f merge=tool\n",
        SAME_LINE,
        settings=(("merge.tool.driver", "./tool '%O' %A \"%B\" %P %L"),),
        clean=True,
    ),
    "a driver that finds a conflict": with_attributes(
        "f merge=tool\n",
        SAME_LINE,
        settings=(("merge.tool.driver", "echo 100%% >> %A; exit 1"),),
        clean=False,
    ),
    "a driver for everything": Row(
        *SAME_LINE, settings=(("merge.default", "tool"), ("merge.tool.driver", "cat %B >> %A")), clean=True
    ),
    "a driver that is not there": with_attributes("f merge=none\n", SAME_LINE, clean=False),
    "LFS pointers": with_attributes(
        "*.bin filter=lfs diff=lfs merge=lfs -text\n",
        (
            {"a.bin": POINTER.format("a" * 64)},
            {"a.bin": POINTER.format("b" * 64)},
            {"a.bin": POINTER.format("c" * 64)},
        ),
        clean=False,
    ),
    # How conflicts are written.
    "diff3": Row(*SAME_LINE, settings=(("merge.conflictStyle", "diff3"),), clean=False),
    "zdiff3": Row(*SAME_LINE, settings=(("merge.conflictStyle", "zdiff3"),), clean=False),
    "diff3 of a rename": Row(
        {"f": LONG},
        moved("f", "g", line(3, "ours")),
        {"f": line(3, "theirs")},
        settings=(("merge.conflictStyle", "diff3"),),
        clean=False,
    ),
    # Names.
    "names that differ in case": Row({"x": "x"}, {"File": "ours\n"}, {"file": "theirs\n"}, clean=True),
    "renamed in case": Row({"file": LONG}, moved("file", "File"), {"file": line(3, "theirs")}, clean=True),
    "case is ignored by attributes": with_attributes(
        "F merge=union\n", SAME_LINE, settings=(("core.ignoreCase", "true"),), clean=True
    ),
    "names with spaces": Row(
        {"a b/c d": LONG}, {"a b/c d": line(3, "ours")}, {"a b/c d": line(3, "theirs")}, clean=False
    ),
    "names that are not ASCII": Row(
        {"ä/ö": LONG}, {"ä/ö": line(3, "ours")}, {"ä/ö": line(3, "theirs")}, clean=False
    ),
}


def files(content: Mapping[str, Content]) -> Files:
    found: dict[str, File] = {"tool": (RUNS, TOOL.encode())}
    for path, what in content.items():
        if isinstance(what, tuple):
            found[path] = what
        elif what is not None:
            found[path] = (PLAIN, what.encode() if isinstance(what, str) else what)
    return found


def laid_out(place: Path, row: Row) -> ScratchRepo:
    scratch = ScratchRepo.make(place, "--template=")
    sides = (files(side) for side in (row.base, {**row.base, **row.ours}, {**row.base, **row.theirs}))
    elsewhere = files({**row.base, MERGING: "* -merge\n", "d/.gitattributes": "* -merge\n"})
    import_sides(scratch, *sides, {p: f for p, f in elsewhere.items() if p in ("tool", MERGING)})
    scratch.git("checkout", "-q", "-f", "elsewhere")
    for key, value in row.settings:
        scratch.git("config", key, value)
    (scratch.path / ".git/info").mkdir()
    (scratch.path / ".git/info/attributes").write_text(row.info)
    (scratch.path / ".git/mine").write_text(row.mine)
    return scratch


@pytest.mark.parametrize("name", TABLE)
def test_a_merge_in_memory_is_the_one_of_a_checkout(tmp_path: Path, name: str) -> None:
    row = TABLE[name]
    scratch = laid_out(tmp_path / "repo", row)
    by_git, in_process = (merged_in_memory(scratch, shortcut=short) for short in (False, True))
    wanted = merged_in_a_checkout(scratch)
    assert by_git == wanted
    assert in_process == wanted
    assert row.clean in (None, wanted.clean)
