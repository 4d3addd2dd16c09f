"""What can be done with the values of an expression, each thing counted and bounded.

Values are those of JSON, and sets. Nothing here can change a value, so they are shared freely, and a small
expression may build a list that holds one large list many times. Whoever is about to look at all of a value
has to ``weigh`` it first.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Collection, Iterable, Sequence
from typing import Protocol, cast

STEPS = 100_000
LONGEST = 1_000_000
BITS = 350
"""Bits that a whole number may have: about a hundred decimal digits."""
HASHED = 2**61 - 1
"""From here on different whole numbers have one hash, and a set of them would take quadratic time."""

CONTAINERS = (list, tuple, set, dict)
WORDS: dict[type, str] = {
    type(None): "null",
    bool: "a yes or no",
    int: "a whole number",
    float: "a number",
    str: "a text",
    list: "a list",
    tuple: "a list",
    set: "a set",
    dict: "an object",
}


class Files(Protocol):
    """The files that an expression may ask about; paths are relative to the repository."""

    def exists(self, path: str) -> bool:
        """Returns whether *path* is a regular file."""

    def text(self, path: str) -> str | None:
        """Returns the text of a file; ``None`` when it is missing, binary or over 10 MB."""

    def changed(self, base: str) -> Sequence[str]:
        """Returns the files that differ from the commit called *base*; none where there is no such commit."""


class Problem(Exception):  # noqa: N818 - it never leaves the evaluator
    """Ends an evaluation."""

    def __init__(self, reason: str, violations: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.violations = violations


class Sandbox:
    """Counts the work of one evaluation, and holds the files that it may ask about."""

    def __init__(self, files: Files | None) -> None:
        self._files = files
        self._steps = 0

    @property
    def files(self) -> Files:
        """The files; raises Problem where there are none."""
        if self._files is None:
            raise Problem("files are not available here")
        return self._files

    def step(self, count: int = 1) -> None:
        """Counts work; raises Problem when it was too much."""
        self._steps += count
        if self._steps > STEPS:
            raise Problem("it takes too many steps")

    def weigh(self, value: object, characters: int = 1000) -> None:
        """Counts every element of *value* at every depth, and so many characters of a text as one."""
        todo = [value]
        while todo:
            at = todo.pop()
            self.step()
            if isinstance(at, str):
                self.step(len(at) // characters)
            elif isinstance(at, CONTAINERS):
                self.step(len(at) // 10)
                todo += at.values() if isinstance(at, dict) else at

    def elements(self, value: object) -> Collection[object]:
        """Returns the elements of a list, a text or a set, or the keys of an object."""
        if isinstance(value, set):
            self.step(len(value))
            # A set of texts has another order in every process.
            return sorted(value, key=lambda item: (type(item).__name__, str(item)))
        if isinstance(value, list | tuple | str | dict):
            return value
        raise Problem(f"{shown(value)} has no elements")


def shown(value: object) -> str:
    """Returns the kind of a value in words."""
    return WORDS.get(type(value), "a value")


def bounded(value: object) -> object:
    """Returns *value*, or raises Problem when it is too large to go on with."""
    if isinstance(value, int) and value.bit_length() > BITS:
        raise Problem("a number is too large")
    if isinstance(value, float) and not math.isfinite(value):
        raise Problem("a number is not finite")
    if isinstance(value, str | list | tuple | set | dict) and len(value) > LONGEST:
        raise Problem("a value is too long")
    return value


def member(value: object, key: str) -> object:
    """Returns an entry of an object."""
    if not isinstance(value, dict):
        raise Problem(f"{shown(value)} has no {key}")
    if key not in value:
        raise Problem(f"there is no {key} (there is: {', '.join(map(str, list(value)[:20])) or 'nothing'})")
    return value[key]


def entry(value: object, key: object) -> object:
    """Returns an element of a list or text, or an entry of an object."""
    if isinstance(key, str):
        return member(value, key)
    if not isinstance(value, list | tuple | str) or not isinstance(key, int):
        raise Problem(f"{shown(value)} has no entry that {shown(key)} could name")
    if not -len(value) <= key < len(value):
        raise Problem(f"there is no element {key} in {shown(value)} of {len(value)}")
    return value[key]


def part(sandbox: Sandbox, value: object, bounds: Sequence[object]) -> object:
    """Returns a slice of a list or text."""
    if not isinstance(value, list | tuple | str):
        raise Problem(f"{shown(value)} has no parts")
    if not all(bound is None or isinstance(bound, int) for bound in bounds):
        raise Problem("the ends of a part are whole numbers")
    found = value[slice(*cast("Sequence[int | None]", bounds))]
    _pay(sandbox, found)
    return found


def as_set(sandbox: Sandbox, items: Iterable[object]) -> object:
    """Returns a set of texts, numbers, true, false and null."""
    found: set[object] = set()
    for item in items:
        sandbox.step()
        if isinstance(item, CONTAINERS):
            raise Problem(f"{shown(item)} cannot be in a set")
        if isinstance(item, int) and abs(item) >= HASHED:
            raise Problem("a number is too large to be in a set")
        found.add(item)
    return found


def negated(value: object, op: ast.unaryop) -> object:
    """Returns what ``not``, ``-`` and ``+`` make of a value."""
    if isinstance(op, ast.Not):
        return not value
    if not isinstance(value, int | float):
        raise Problem(f"{shown(value)} is not a number")
    return -value if isinstance(op, ast.USub) else +value


def combined(sandbox: Sandbox, left: object, op: ast.operator, right: object) -> object:
    """Returns what an operator makes of two values."""
    if isinstance(left, int | float) and isinstance(right, int | float):
        return _arithmetic(left, op, right)
    if isinstance(op, ast.Mult):
        return _repeated(sandbox, left, right)
    if isinstance(op, ast.Add) and isinstance(left, str) and isinstance(right, str):
        return _pay(sandbox, left + right)
    if isinstance(op, ast.Add) and isinstance(left, list) and isinstance(right, list):
        return _pay(sandbox, left + right)
    raise Problem(f"{type(op).__name__} does not work on {shown(left)} and {shown(right)}")


def holds(sandbox: Sandbox, left: object, op: ast.cmpop, right: object) -> bool:
    """Returns whether a comparison is true."""
    match op:
        case ast.Eq():
            return _equal(sandbox, left, right)
        case ast.NotEq():
            return not _equal(sandbox, left, right)
        case ast.Is() | ast.IsNot():
            if right is not None and not isinstance(right, bool):
                raise Problem("`is` compares with null, true or false; for the rest there is ==")
            return (left is right) is isinstance(op, ast.Is)
        case ast.In() | ast.NotIn():
            return contains(sandbox, right, left) is isinstance(op, ast.In)
        case _:
            return _ordered(sandbox, left, op, right)


def contains(sandbox: Sandbox, box: object, item: object) -> bool:
    """Returns whether *item* is an element of a list or set, a key of an object or a part of a text."""
    if isinstance(box, str):
        sandbox.step(len(box) // 1000)
        if not isinstance(item, str):
            raise Problem(f"{shown(item)} cannot be part of a text")
        return item in box
    if isinstance(box, set | dict):
        return not isinstance(item, CONTAINERS) and item in box
    if not isinstance(box, list | tuple):
        raise Problem(f"{shown(box)} has no elements")
    scan(sandbox, box, item)
    return item in box


def scan(sandbox: Sandbox, box: Sequence[object], item: object) -> None:
    """Counts the work of comparing *item* with every element of *box*."""
    if isinstance(item, CONTAINERS):
        sandbox.weigh(box)
    else:
        length = len(item) if isinstance(item, str) else 1
        sandbox.step(len(box) // 50 + len(box) * length // 10_000)


def _pay(sandbox: Sandbox, made: str | list[object] | tuple[object, ...]) -> object:
    sandbox.step(len(made) // (100 if isinstance(made, str) else 1))
    return made


def _arithmetic(left: float, op: ast.operator, right: float) -> object:
    match op:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.Div():
            return left / right
        case ast.FloorDiv():
            return left // right
        case ast.Mod():
            return left % right
        case _:
            return _power(left, right)


def _power(left: float, right: float) -> object:
    if abs(right) > 1000 or (isinstance(left, int) and left.bit_length() * abs(right) > 2 * BITS):
        raise Problem("a number is too large")
    if left < 0 and not float(right).is_integer():
        raise Problem("a negative number has no such root")
    return left**right


def _repeated(sandbox: Sandbox, left: object, right: object) -> object:
    sequence, times = (left, right) if isinstance(right, int) else (right, left)
    if not isinstance(sequence, str | list | tuple) or not isinstance(times, int):
        raise Problem(f"{shown(left)} and {shown(right)} cannot be multiplied")
    # Before it is made: the text itself is what must not come to be.
    if len(sequence) * max(times, 0) > LONGEST:
        raise Problem("a value is too long")
    return _pay(sandbox, sequence * times)


def _equal(sandbox: Sandbox, left: object, right: object) -> bool:
    sandbox.weigh(left)
    sandbox.weigh(right)
    return left == right


def _ordered(sandbox: Sandbox, left: object, op: ast.cmpop, right: object) -> bool:
    numbers = isinstance(left, int | float) and isinstance(right, int | float)
    alike = isinstance(left, str | list | tuple | set) and type(left) is type(right)
    if not numbers and not alike:
        raise Problem(f"{shown(left)} and {shown(right)} have no order")
    sandbox.weigh(left)
    sandbox.weigh(right)
    # Both are of one kind, seen above; a list of unlike things is a TypeError and told as such.
    a, b = cast("float", left), cast("float", right)
    match op:
        case ast.Lt():
            return a < b
        case ast.LtE():
            return a <= b
        case ast.Gt():
            return a > b
        case _:
            return a >= b
