"""Repositories to measure on: made by ``git fast-import``, the same ones everywhere, and kept in a folder.

    .venv/bin/python -m tests.bench.repositories --cache FOLDER [FILES ...]

Files lie up to eight folders deep, a few in most folders and hundreds in some; half are smaller than a
kilobyte. There are attributes (``text=auto``, binary pictures, scripts with ``eol=lf``), ignore rules at
several depths, executables, symbolic links, and fifty commits on top of the first. FILES is how many
files the first commit has.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

SIZES = (250, 5_000, 25_000, 100_000)
VERSION = 1
"""What a kept repository is called by; another number makes all of them anew."""

BRANCH = "main"
DEEPEST = 8
PER_FOLDER = 6
LATER = 50
DAY = 86_400
BEGAN = 1_700_000_000
CORPUS = 1 << 20
TYPICAL, SPREAD, LARGEST = math.log(900), 1.1, 200_000
NAMES = (
    "core", "parser", "utils", "runtime", "plugin", "helpers", "server", "client", "model", "state",
    "fixtures", "input", "output", "types", "views", "store", "common", "format", "stream", "index",
    "token", "scope", "graph",
)  # fmt: skip
KINDS = {
    ".js": 24, ".ts": 18, ".py": 14, ".java": 12, ".json": 12, ".md": 8, ".txt": 5, ".css": 3, ".sh": 2,
    ".png": 2,
}  # fmt: skip
ATTRIBUTES = b"* text=auto\n*.png binary\n*.sh text eol=lf\n*.json linguist-generated\n"
IGNORED = b"node_modules/\nbuild/\ndist/\n*.pyc\n*.log\n"
WHO = b"B <b@x>"
PLAIN = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C.UTF-8"}


@dataclass(frozen=True)
class Described:
    """What a repository is like: counts, and bytes."""

    commit: str
    files: int
    folders: int
    content_bytes: int
    index_bytes: int
    made_by_us: bool


def provided(files: int, cache: Path) -> Path:
    """Returns the repository of so many files in *cache*, with a clean checkout; made where it is missing."""
    place = cache / f"v{VERSION}-{files}"
    if not place.is_dir():
        half = cache / f"{place.name}.half-{os.getpid()}"
        shutil.rmtree(half, ignore_errors=True)
        build(half, files)
        half.rename(place)
    return place


def build(place: Path, files: int) -> Path:
    """Makes the repository of so many files at *place*, which is not there yet, with a checkout of it."""
    place.mkdir(parents=True)
    git(place, "init", "-q", "-b", BRANCH, "--template=")
    for key, value in (("user.name", "Bench"), ("user.email", "bench@x"), ("gc.auto", "0")):
        git(place, "config", key, value)
    told = subprocess.Popen(
        ["git", "-c", "pack.compression=1", "fast-import", "--quiet"],
        cwd=place,
        env=os.environ | PLAIN,
        stdin=subprocess.PIPE,
    )
    with told:
        assert told.stdin is not None
        for part in stream(files):
            told.stdin.write(part)
    if told.returncode:
        raise SystemExit(f"git fast-import failed in {place}")
    git(place, "checkout", "-q", "-f", BRANCH)
    settle(place)
    return place


def clone(source: Path, place: Path) -> None:
    """Makes a clone of somebody's repository at *place*, at its HEAD, so that the own one is only read."""
    git(source, "clone", "-q", "--no-checkout", str(source), str(place))
    for key, value in (("user.name", "Bench"), ("user.email", "bench@x"), ("gc.auto", "0")):
        git(place, "config", key, value)
    git(place, "checkout", "-q", "-f", "-B", BRANCH)
    settle(place)


def settle(place: Path) -> None:
    """Waits until no file of a fresh checkout looks as if it had been written after the index."""
    time.sleep(1.1)
    git(place, "update-index", "-q", "--really-refresh")


def stream(files: int) -> Iterator[bytes]:
    """Yields what ``git fast-import`` is told; the same bytes for the same number of files."""
    dice = random.Random(files)
    corpus = _corpus(random.Random(1))
    paths = _paths(files, dice)
    yield _commit(0, b"the first commit")
    for path in paths:
        yield _file(path, _content(path, corpus, dice), paths)
    plain = [path for path in paths if path.endswith((".js", ".ts", ".py", ".java", ".md"))]
    for number in range(1, LATER + 1):
        yield _commit(number, b"change %d" % number)
        for path in dice.sample(plain, min(5, len(plain))):
            yield _file(path, _content(path, corpus, dice), paths)


def described(repository: Path, *, made_by_us: bool) -> Described:
    """Returns what a repository with a checkout is like, by its HEAD."""
    rows = git(repository, "ls-tree", "-r", "-l", "-z", "HEAD").split("\0")[:-1]
    folders = git(repository, "ls-tree", "-r", "-d", "-z", "--name-only", "HEAD").count("\0")
    sizes = [row.split("\t")[0].split()[3] for row in rows]
    index = repository / git(repository, "rev-parse", "--git-path", "index").strip()
    return Described(
        commit=git(repository, "rev-parse", "HEAD").strip(),
        files=len(rows),
        folders=folders,
        content_bytes=sum(int(size) for size in sizes if size != "-"),
        index_bytes=index.stat().st_size,
        made_by_us=made_by_us,
    )


def git(place: Path, *words: str) -> str:
    """Returns what git says in *place*; raises ``CalledProcessError`` when it fails."""
    done = subprocess.run(["git", *words], cwd=place, env=os.environ | PLAIN, check=True, capture_output=True)
    return os.fsdecode(done.stdout)


def _corpus(dice: random.Random) -> bytes:
    """Returns text that compresses about as well as source code does."""
    lines, size = [], 0
    while size < CORPUS:
        words = " ".join(dice.choices(NAMES, k=dice.randint(1, 9)))
        lines.append(f"{' ' * (4 * dice.randint(0, 3))}{words}({dice.randint(0, 9999)});\n")
        size += len(lines[-1])
    return "".join(lines).encode()


def _paths(files: int, dice: random.Random) -> list[str]:
    folders = [""]
    for number in range(max(files // PER_FOLDER, 1)):
        parent = dice.choice(folders[-200:] if dice.random() < 0.7 else folders)
        if parent.count("/") < DEEPEST:
            folders.append(f"{parent}{dice.choice(NAMES)}{number}/")
    special = [".gitattributes", ".gitignore"]
    special += [f"{folder}.gitignore" for folder in folders[1 : files // 500 + 1]]
    kinds, weights = list(KINDS), list(KINDS.values())
    few, many = folders, folders[:: max(len(folders) // 40, 1)]
    rest = [
        f"{dice.choice(many if dice.random() < 0.2 else few)}{dice.choice(NAMES)}-{number}"
        f"{dice.choices(kinds, weights)[0]}"
        for number in range(files - len(special))
    ]
    return special + rest


def _content(path: str, corpus: bytes, dice: random.Random) -> bytes:
    if path == ".gitattributes":
        return ATTRIBUTES
    if path.endswith(".gitignore"):
        return IGNORED
    size = min(int(dice.lognormvariate(TYPICAL, SPREAD)) + 16, LARGEST)
    if path.endswith(".png"):
        return b"\x89PNG\r\n\x1a\n\0" + dice.randbytes(size)
    at = dice.randrange(len(corpus) - LARGEST)
    return b"%d\n" % dice.getrandbits(40) + corpus[at : at + size].rstrip(b"\n") + b"\n"


def _file(path: str, content: bytes, paths: Sequence[str]) -> bytes:
    mode = b"100755" if path.endswith(".sh") else b"100644"
    if path.endswith(".txt") and hashlib.sha1(path.encode()).digest()[0] < 8:
        mode, content = b"120000", paths[-1].rpartition("/")[2].encode()
    return b"M %s inline %s\ndata %d\n%s\n" % (mode, path.encode(), len(content), content)


def _commit(number: int, message: bytes) -> bytes:
    when = BEGAN + number * DAY
    return b"commit refs/heads/%s\ncommitter %s %d +0000\ndata %d\n%s\n" % (
        BRANCH.encode(),
        WHO,
        when,
        len(message),
        message,
    )


def main() -> None:
    """Makes the repositories asked for, and says what they are like."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("files", type=int, nargs="*", default=list(SIZES))
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    for files in options.files:
        place = provided(files, options.cache.resolve())
        print(place, asdict(described(place, made_by_us=True)), flush=True)


if __name__ == "__main__":
    main()
