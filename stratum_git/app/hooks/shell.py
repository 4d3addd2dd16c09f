"""What a command line starts, and where, as far as that can be seen without running it."""

from __future__ import annotations

import os
import re
import shlex

from stratum_git.git.whereabouts import resolved

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HEREDOC = r"(?s)<<-?[ \t]*(['\"]?)(\w+)\1([^\n]*)\n(.*?)(?:\n[ \t]*\2(?=\n|$)|\Z)"
"""These are texts: a pattern takes as long to be made as all else, and few commands have anything of it."""
GIVEN = "\1([0-9]+)\1"
"""Stands in a text for what a command there gets on its standard input."""
PIECE = (
    r"(?s)(?P<kept>\\.|'[^']*')|(?P<quoted>\"(?:\\.|[^\"\\])*\")|`(?P<ticked>[^`]*)`"
    r"|(?P<comment>(?:^|(?<=[\s;&|()]))#[^\n]*)"
)
INNER = r"\$\(([^()]*)\)|`([^`]*)`"
ASSIGNMENT = r"(?s)[A-Za-z_][A-Za-z0-9_]*=.*"
BEFORE: Mapping[str, frozenset[str]] = {
    # Words that stand before the program that is started, and those of their options that have a value.
    **dict.fromkeys(("command", "nohup", "!", "{", "if", "then", "elif", "else"), frozenset()),
    **dict.fromkeys(("while", "until", "do"), frozenset()),
    "sudo": frozenset({"-u", "-g", "-h", "-p", "-C", "-D", "-R", "-T"}),
    "env": frozenset({"-u", "-C", "-S"}),
    "exec": frozenset({"-a"}),
    "time": frozenset({"-f", "-o"}),
    "nice": frozenset({"-n"}),
    "xargs": frozenset({"-n", "-I", "-P", "-L", "-d", "-s", "-a", "-E"}),
    "timeout": frozenset({"-k", "-s"}),
}  # fmt: skip
SHELLS = frozenset({"sh", "bash", "zsh", "dash"})
TEXT = r"-[a-z]*c"
"""The option of a shell after which the text is that it runs."""
DEEP = 3
LONGEST = 20_000


class Started:
    """A program that is started: its name, its arguments, the folder, and what it gets on standard input.

    ``variables`` are those that are set for it alone.
    """

    __slots__ = ("place", "program", "stdin", "variables", "words")

    def __init__(
        self, program: str, words: tuple[str, ...], place: str, stdin: str, variables: Mapping[str, str]
    ) -> None:
        self.program = program
        self.words = words
        self.place = place
        self.stdin = stdin
        self.variables = variables


def started(command: str, place: str, deep: int = 0) -> Iterator[Started]:
    """Yields what *command* starts in *place*; nothing of what cannot be read as a shell would."""
    given: list[str] = []

    def taken(found: re.Match[str]) -> str:
        given.append(found[4])
        return f" \1{len(given) - 1}\1{found[3]}\n"

    text = command[:LONGEST]
    text = re.sub(HEREDOC, taken, text) if "<<" in text else text
    text, inner = _bared(text.replace("\\\n", " "))
    for one in inner if deep < DEEP else ():
        yield from started(one, place, deep + 1)
    above: list[str] = []
    stdin = ""
    for words, end in _simple(text):
        own, variables, read = _own(words, given)
        stdin = read or stdin
        program = os.path.basename(own[0].rstrip("/")) if own else ""
        at = next(
            (n for n, word in enumerate(own[1:-1], 2) if word[:1] == "-" and re.fullmatch(TEXT, word)), 0
        )
        if program in {"cd", "pushd"}:
            place = _moved(place, own[1:])
        elif (program == "eval" or (program in SHELLS and at)) and deep < DEEP:
            yield from started(own[at] if at else " ".join(own[1:]), place, deep + 1)
        elif program:
            yield Started(program, tuple(own[1:]), place, stdin, variables)
        stdin = stdin if end == "|" else ""
        for letter in end:
            if letter == "(":
                above.append(place)
            elif letter == ")" and above:
                place = above.pop()


def _bared(text: str) -> tuple[str, list[str]]:
    """Returns a text without comments, and what is run inside of its double quotes."""
    inner: list[str] = []

    def bare(found: re.Match[str]) -> str:
        if found["comment"] is not None:
            return ""
        if found["quoted"] is not None:
            inner.extend(one[1] or one[2] or "" for one in re.finditer(INNER, found["quoted"]))
        return f"({found['ticked']})" if found["ticked"] is not None else found[0]

    # Only what begins one of the pieces can be one.
    return (re.sub(PIECE, bare, text) if {"\\", "'", '"', "`", "#"} & set(text) else text), inner


def _simple(text: str) -> Iterator[tuple[list[str], str]]:
    """Yields the simple commands of a text, as words, each with what ends it."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|()\n")
    lexer.whitespace = " \t\r"
    lexer.whitespace_split = True
    lexer.commenters = ""
    words: list[str] = []
    try:
        for word in lexer:
            if word and set(word) <= set(";&|()\n"):
                yield words, word
                words = []
            else:
                words.append(word)
    except ValueError:
        # A quote that nobody closes: the shell will say so.
        return
    yield words, ""


def _own(words: list[str], given: Sequence[str]) -> tuple[list[str], dict[str, str], str]:
    """Returns the program and its arguments, the variables that it is given, and its standard input."""
    rest, stdin = [], ""
    for number, word in enumerate(words):
        found = re.fullmatch(GIVEN, word) if "\1" in word else None
        if found is not None and int(found[1]) < len(given):
            stdin = given[int(found[1])]
        elif word.startswith("<<<"):
            stdin = word[3:] or "".join(words[number + 1 : number + 2])
        else:
            rest.append(word)
    variables: dict[str, str] = {}
    while rest and (rest[0] in BEFORE or _is_assignment(rest[0])):
        word = rest.pop(0)
        if word not in BEFORE:
            name, _, value = word.partition("=")
            variables[name] = value
            continue
        while rest and rest[0].startswith("-"):
            if rest.pop(0) in BEFORE[word] and rest:
                rest.pop(0)
        if word == "timeout":
            rest = rest[1:]
    return rest, variables, stdin


def _is_assignment(word: str) -> bool:
    return "=" in word and re.fullmatch(ASSIGNMENT, word) is not None


def _moved(place: str, words: list[str]) -> str:
    names = [word for word in words if not word.startswith("-")] or ["~"]
    return place if "$" in names[0] else resolved(os.path.join(place, os.path.expanduser(names[0])))
