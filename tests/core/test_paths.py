import os
import time
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum_git.core.paths import covers, literal_head, overlap, refusal_of_pattern

COVERED = [
    ("a.py", "a.py"),
    ("./a.py", "a.py"),
    ("././src//a.py", "src/a.py"),
    ("src", "src/a.py"),
    ("src", "src/deep/a.py"),
    ("src/", "src/a.py"),
    ("./src/", "src/deep/a.py"),
    (".", "a.py"),
    ("./", "src/a.py"),
    ("*.py", "a.py"),
    ("src/*.py", "src/.py"),
    ("src/?.py", "src/a.py"),
    ("src/[ab].py", "src/b.py"),
    ("src/[!ab].py", "src/c.py"),
    ("src/*/a.py", "src/x/a.py"),
    ("src/*/test", "src/x/test/deep/a.py"),
    ("src/*/", "src/x/deep/a.py"),
    ("**", "src/deep/a.py"),
    ("**/*.py", "a.py"),
    ("**/*.py", "src/deep/a.py"),
    ("src/**", "src/deep/a.py"),
    ("src/**/a.py", "src/a.py"),
    ("src/**/a.py", "src/x/y/a.py"),
    ("**/test/**", "src/test/a.py"),
    ("**/**/a.py", "a.py"),
    ("app/[id]/page.tsx", "app/[id]/page.tsx"),
    ("app/[id]", "app/[id]/page.tsx"),
    ("app/[id]/*.tsx", "app/[id]/page.tsx"),
    ("a[b", "a[b"),
    ("a\nb", "a\nb"),
    ("*", "a\nb"),
    (os.fsdecode(b"caf\xe9"), os.fsdecode(b"caf\xe9/x")),
    ("caf?/*", os.fsdecode(b"caf\xe9/x")),
]
NOT_COVERED = [
    ("a.py", "b.py"),
    ("a.py", "src/a.py"),
    ("A.py", "a.py"),
    ("src", "src2/a.py"),
    ("src/a", "src"),
    ("src/", "source/a.py"),
    ("*.py", "src/a.py"),
    ("src/*", "src/deep/a.py"),
    ("src/*.py", "src/a.pyi"),
    ("src/?.py", "src/ab.py"),
    ("src/?", "src"),
    ("src/[!ab].py", "src/a.py"),
    ("src/*/a.py", "src/a.py"),
    ("src/*/a.py", "src/x/y/a.py"),
    ("**/*.py", "a.md"),
    ("src/**/a.py", "lib/a.py"),
    ("app/[id]/page.tsx", "app/x/page.tsx"),
    ("a[b", "ab"),
]


@pytest.mark.parametrize(("pattern", "path"), COVERED)
def test_a_pattern_covers_its_files(pattern: str, path: str) -> None:
    assert covers(pattern, PurePosixPath(path))
    assert overlap(pattern, path)
    assert overlap(path, pattern)


@pytest.mark.parametrize(("pattern", "path"), NOT_COVERED)
def test_a_pattern_covers_no_other_files(pattern: str, path: str) -> None:
    assert not covers(pattern, PurePosixPath(path))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("src/*.py", "src/a*"),
        ("src/**", "**/a.py"),
        ("src/*/x", "src/y/*"),
        ("a/**/z", "a/b/**"),
        ("*", "src"),
        ("src/[ab]", "src/[bc]"),
        ("src", "**/deep/*.md"),
        ("*_test.py", "a*.py"),
    ],
)
def test_patterns_overlap_when_a_path_may_fit_both(first: str, second: str) -> None:
    assert overlap(first, second)
    assert overlap(second, first)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a.py", "b.py"),
        ("src", "src2"),
        ("src/a", "lib/a"),
        ("src/*.py", "src/*.md"),
        ("src/a*", "src/b*"),
        ("src/*.py", "src/deep/a.py"),
        ("src/**/*.py", "lib/**/*.py"),
        ("*/a", "x/b"),
        ("**/a.py", "src/*.md"),
        ("*.py", "src/a.py"),
    ],
)
def test_patterns_that_no_path_fits_both_do_not_overlap(first: str, second: str) -> None:
    assert not overlap(first, second)
    assert not overlap(second, first)


PARTS = st.sampled_from(["a", "b", "ab", "*", "?", "[ab]", "a*", "*b", "**", ".", "[a"])
PATTERNS = st.tuples(st.lists(PARTS, min_size=1, max_size=4), st.sampled_from(["", "/"])).map(
    lambda found: "/".join(found[0]) + found[1]
)
PATHS = st.lists(st.sampled_from(["a", "b", "ab", "[ab]", "[a"]), min_size=1, max_size=4).map("/".join)


@given(PATTERNS, PATTERNS, PATHS)
def test_overlap_never_misses_a_common_path(first: str, second: str, path: str) -> None:
    if covers(first, PurePosixPath(path)) and covers(second, PurePosixPath(path)):
        assert overlap(first, second)
    assert overlap(first, second) is overlap(second, first)
    assert overlap(first, first)


@given(PATTERNS, PATHS)
def test_every_covered_path_begins_with_the_literal_head(pattern: str, path: str) -> None:
    head = literal_head(pattern)
    if covers(pattern, PurePosixPath(path)):
        assert PurePosixPath(path).parts[: len(head)] == head


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_text_can_be_compared(pattern: str, path: str) -> None:
    covers(pattern, PurePosixPath(path))
    assert overlap(pattern, path) is overlap(path, pattern)
    refusal_of_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*a" * 2000 + "b", "a" * 4000),
        ("/".join(["**"] * 600), "/".join(["a"] * 600)),
        ("**/a/" * 300 + "b", "a/" * 600),
        ("[" * 4000, "[" * 3999),
    ],
    ids=lambda text: text[:12],
)
def test_no_pattern_takes_long(pattern: str, path: str) -> None:
    before = time.process_time()
    covers(pattern, PurePosixPath(path))
    assert overlap(pattern, path) is overlap(path, pattern)
    assert time.process_time() - before < 2


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("", "it is empty"),
        ("  ", "it is empty"),
        ("/", "it is absolute; paths are relative to the repository"),
        ("/etc/passwd", "it is absolute; paths are relative to the repository"),
        ("..", "it leaves the repository"),
        ("a/../b", "it leaves the repository"),
        ("a\0b", "it has a NUL in it"),
        (".git", "it is inside of .git"),
        ("./.GIT/hooks/pre-commit", "it is inside of .git"),
        ("sub/.git/config", "it is inside of .git"),
        ("a" * 5000, "it is longer than 4096 characters"),
    ],
    ids=lambda text: text[:20],
)
def test_a_pattern_that_cannot_be_owned_is_refused(pattern: str, reason: str) -> None:
    assert refusal_of_pattern(pattern) == reason


@pytest.mark.parametrize(
    "pattern", [".", "a", "a..b", ".gitignore", ".github/", "**", "src/[id]/*.ts", "a b"]
)
def test_other_patterns_can_be_owned(pattern: str) -> None:
    assert refusal_of_pattern(pattern) is None
