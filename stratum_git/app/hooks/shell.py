"""What a command line starts, and where, as far as that can be seen without running it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HEREDOC = re.compile(r"<<-?[ \t]*(['\"]?)(\w+)\1([^\n]*)\n(.*?)(?:\n[ \t]*\2(?=\n|$)|\Z)", re.DOTALL)
ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)
BEFORE = frozenset(
    {"sudo", "env", "command", "exec", "time", "nohup", "nice", "xargs", "then", "do", "else", "!"}
)
"""Words that stand before the program that is started."""
SHELLS = frozenset({"sh", "bash", "zsh", "dash"})
DEEP = 3
LONGEST = 20_000


@dataclass(frozen=True, slots=True)
class Started:
    """A program that is started: its name, its arguments, the folder, and what it gets on standard input."""

    program: str
    words: tuple[str, ...]
    place: Path
    stdin: str = ""


def started(command: str, place: Path, deep: int = 0) -> Iterator[Started]:
    """Yields what *command* starts in *place*; nothing of what cannot be read as a shell would."""
    given = "\n".join(found[4] for found in HEREDOC.finditer(command[:LONGEST]))
    text = HEREDOC.sub(lambda found: found[3] + "\n", command[:LONGEST]).replace("\\\n", " ")
    for words in _simple(text):
        own = _own(words)
        if not own:
            continue
        program = Path(own[0]).name
        if program == "cd":
            place = _moved(place, own[1:])
        elif program in SHELLS and "-c" in own[1:-1] and deep < DEEP:
            yield from started(own[own.index("-c") + 1], place, deep + 1)
        else:
            yield Started(program, tuple(own[1:]), place, given)


def _simple(text: str) -> Iterator[list[str]]:
    """Yields the simple commands of a text, as words."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|()\n")
    lexer.whitespace = " \t\r"
    lexer.whitespace_split = True
    words: list[str] = []
    try:
        for word in lexer:
            if set(word) <= set(";&|()\n"):
                yield words
                words = []
            else:
                words.append(word)
    except ValueError:
        # A quote that nobody closes: the shell will say so.
        return
    yield words


def _own(words: list[str]) -> list[str]:
    rest = list(words)
    while rest and (rest[0] in BEFORE or ASSIGNMENT.fullmatch(rest[0])):
        rest.pop(0)
    if rest[:1] == ["timeout"]:
        # Its options, and how long.
        rest = rest[1:]
        while rest and rest[0].startswith("-"):
            rest.pop(0)
        rest = _own(rest[1:])
    return rest


def _moved(place: Path, words: list[str]) -> Path:
    names = [word for word in words if not word.startswith("-")]
    return (place / names[0]).resolve() if names and "$" not in names[0] else place
