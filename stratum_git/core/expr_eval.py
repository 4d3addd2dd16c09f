"""Walks an expression that was accepted. Every step is counted, every value is bounded in size."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, cast

from stratum_git.model.ids import Json

STEPS = 100_000
LONGEST = 1_000_000
DIGITS = 350
"""Bits that a whole number may have: about a hundred decimal digits."""


class Files(Protocol):
    """The files that an expression may ask about; paths are relative to the repository."""

    def exists(self, path: str) -> bool:
        """Returns whether *path* is a file."""

    def text(self, path: str) -> str | None:
        """Returns the text of a file, or ``None`` when it has none."""


class Problem(Exception):  # noqa: N818 - it never leaves the evaluator
    """Ends an evaluation."""

    def __init__(self, reason: str, violations: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.violations = violations


@dataclass(frozen=True, slots=True)
class Calls:
    """What can be called, given to the walker so that the functions may use it."""

    function: Callable[[Walker, str, list[object], dict[str, object]], object]
    method: Callable[[Walker, object, str, list[object]], object]


class Walker:
    """Evaluates one expression."""

    def __init__(self, names: Mapping[str, Json], files: Files | None, calls: Calls) -> None:
        self._scopes: list[dict[str, object]] = [{"true": True, "false": False, "null": None, **names}]
        self._steps = 0
        self._calls = calls
        self.files = files

    def value(self, node: ast.expr) -> object:
        """Returns what a node comes to."""
        self.step()
        handler = HANDLERS.get(type(node))
        if handler is None:
            raise Problem(f"{type(node).__name__} is not part of an expression here")
        return bounded(handler(self, node))

    def step(self, count: int = 1) -> None:
        """Counts work; raises Problem when it was too much."""
        self._steps += count
        if self._steps > STEPS:
            raise Problem("it takes too many steps")

    def weigh(self, value: object) -> None:
        """Counts every element of *value* at every depth, as something that is about to look at all of them.

        A list may hold one large list many times at no cost; comparing or printing it would pay for each.
        """
        todo = [value]
        while todo:
            at = todo.pop()
            self.step()
            if isinstance(at, dict):
                self.step(len(at))
                todo += at.values()
            elif isinstance(at, list | tuple | set):
                self.step(len(at))
                todo += at
            elif isinstance(at, str):
                self.step(len(at) // 1000)

    def name(self, node: ast.Name) -> object:
        """Returns what a name stands for."""
        for scope in reversed(self._scopes):
            if node.id in scope:
                return scope[node.id]
        known = ", ".join(name for name in self._scopes[0] if name not in {"true", "false", "null"})
        raise Problem(f"there is no {node.id} here (there is: {known or 'nothing'})")

    def call(self, node: ast.Call) -> object:
        """Returns what a function or a method gives."""
        arguments = [self.value(argument) for argument in node.args]
        named = {word.arg or "": self.value(word.value) for word in node.keywords}
        if isinstance(node.func, ast.Name):
            return self._calls.function(self, node.func.id, arguments, named)
        if isinstance(node.func, ast.Attribute) and not named:
            return self._calls.method(self, self.value(node.func.value), node.func.attr, arguments)
        raise Problem("methods take no named arguments")

    def bindings(self, generators: list[ast.comprehension]) -> Iterator[None]:
        """Yields once for every element of a comprehension, with its names bound."""
        first, *rest = generators
        for item in elements(self.value(first.iter)):
            self.step()
            self._scopes.append({})
            try:
                self._bind(first.target, item)
                if all(self.value(condition) for condition in first.ifs):
                    if rest:
                        yield from self.bindings(rest)
                    else:
                        yield
            finally:
                self._scopes.pop()

    def _bind(self, target: ast.expr, item: object) -> None:
        if isinstance(target, ast.Name):
            self._scopes[-1][target.id] = item
        elif isinstance(target, ast.Tuple):
            parts = list(elements(item))
            if len(parts) != len(target.elts):
                raise Problem(f"{len(parts)} values do not fit {len(target.elts)} names")
            for part, value in zip(target.elts, parts, strict=True):
                self._bind(part, value)
        else:
            raise Problem("only names can be bound")


def elements(value: object) -> Iterator[object]:
    """Returns the elements of a list, a text or the keys of an object."""
    if isinstance(value, list | tuple | set | frozenset | str | dict):
        return iter(list(value))
    raise Problem(f"{shown(value)} has no elements")


def bounded(value: object) -> object:
    """Returns *value*, or raises Problem when it is too large."""
    if isinstance(value, int) and value.bit_length() > DIGITS:
        raise Problem("a number is too large")
    if isinstance(value, str | list | tuple | set | dict) and len(value) > LONGEST:
        raise Problem("a value is too long")
    return value


def shown(value: object) -> str:
    """Returns a value in words."""
    return "null" if value is None else f"a {type(value).__name__}"


def member(value: object, key: str) -> object:
    """Returns an entry of an object."""
    if isinstance(value, dict):
        if key in value:
            return value[key]
        raise Problem(f"there is no {key} (there is: {', '.join(map(str, list(value)[:20])) or 'nothing'})")
    raise Problem(f"{shown(value)} has no {key}")


def _attribute(walker: Walker, node: ast.expr) -> object:
    assert isinstance(node, ast.Attribute)  # noqa: S101 - for the type checker
    return member(walker.value(node.value), node.attr)


def _subscript(walker: Walker, node: ast.expr) -> object:
    assert isinstance(node, ast.Subscript)  # noqa: S101
    value = walker.value(node.value)
    if isinstance(node.slice, ast.Slice):
        if not isinstance(value, list | tuple | str):
            raise Problem(f"{shown(value)} has no parts")
        ends = (node.slice.lower, node.slice.upper, node.slice.step)
        bounds = [None if end is None else walker.value(end) for end in ends]
        if not all(isinstance(bound, int | None) for bound in bounds):
            raise Problem("the ends of a part are whole numbers")
        return value[slice(*cast("list[int | None]", bounds))]
    key = walker.value(node.slice)
    if isinstance(value, dict):
        return member(value, key) if isinstance(key, str) else value[key]
    if isinstance(value, list | tuple | str) and isinstance(key, int):
        return value[key]
    raise Problem(f"{shown(value)} has no entry {key!r}"[:200])


def _bool(walker: Walker, node: ast.expr) -> object:
    assert isinstance(node, ast.BoolOp)  # noqa: S101
    value: object = None
    for part in node.values:
        value = walker.value(part)
        if bool(value) is isinstance(node.op, ast.Or):
            return value
    return value


def _unary(walker: Walker, node: ast.expr) -> object:
    assert isinstance(node, ast.UnaryOp)  # noqa: S101
    value = walker.value(node.operand)
    if isinstance(node.op, ast.Not):
        return not value
    if not isinstance(value, int | float):
        raise Problem(f"{shown(value)} is not a number")
    return -value if isinstance(node.op, ast.USub) else +value


def _binary(walker: Walker, node: ast.expr) -> object:
    assert isinstance(node, ast.BinOp)  # noqa: S101
    left, right = walker.value(node.left), walker.value(node.right)
    if isinstance(node.op, ast.Mult):
        return _product(walker, left, right)
    if isinstance(node.op, ast.Add):
        return _sum(walker, left, right)
    if not isinstance(left, int | float) or not isinstance(right, int | float):
        raise Problem(f"{shown(left)} and {shown(right)} are not numbers")
    if isinstance(node.op, ast.Pow):
        if abs(right) > 1000 or (isinstance(left, int) and left.bit_length() * abs(right) > DIGITS):
            raise Problem("a number is too large")
        return left**right
    return ARITHMETIC[type(node.op)](left, right)


ARITHMETIC: dict[type[ast.operator], Callable[[float, float], object]] = {
    ast.Sub: lambda a, b: a - b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Mod: lambda a, b: a % b,
}


def _product(walker: Walker, left: object, right: object) -> object:
    if isinstance(left, int | float) and isinstance(right, int | float):
        return left * right
    sequence, times = (left, right) if isinstance(right, int) else (right, left)
    if isinstance(sequence, str | list | tuple) and isinstance(times, int):
        if len(sequence) * max(times, 0) > LONGEST:
            raise Problem("a value is too long")
        walker.step(len(sequence) * max(times, 0) // (100 if isinstance(sequence, str) else 1))
        return sequence * times
    raise Problem(f"{shown(left)} and {shown(right)} cannot be multiplied")


def _sum(walker: Walker, left: object, right: object) -> object:
    if isinstance(left, int | float) and isinstance(right, int | float):
        return left + right
    if isinstance(left, str) and isinstance(right, str):
        walker.step((len(left) + len(right)) // 100)
        return left + right
    if isinstance(left, list) and isinstance(right, list):
        walker.step(len(left) + len(right))
        return left + right
    raise Problem(f"{shown(left)} and {shown(right)} cannot be added")


def _compare(walker: Walker, node: ast.expr) -> object:
    assert isinstance(node, ast.Compare)  # noqa: S101
    left = walker.value(node.left)
    for op, part in zip(node.ops, node.comparators, strict=True):
        right = walker.value(part)
        if not _holds(walker, op, left, right):
            return False
        left = right
    return True


def _holds(walker: Walker, op: ast.cmpop, left: object, right: object) -> bool:
    match op:
        case ast.Eq():
            return _equal(walker, left, right)
        case ast.NotEq():
            return not _equal(walker, left, right)
        case ast.Is():
            return left is right
        case ast.IsNot():
            return left is not right
        case ast.In() | ast.NotIn():
            walker.weigh(right)
            if not isinstance(right, str | list | tuple | set | dict):
                raise Problem(f"{shown(right)} has no elements")
            found = left in right if not isinstance(right, str) else isinstance(left, str) and left in right
            return found is isinstance(op, ast.In)
        case _:
            return _ordered(walker, op, left, right)


def _equal(walker: Walker, left: object, right: object) -> bool:
    for side in (left, right):
        if isinstance(side, dict | list | tuple | set):
            walker.weigh(side)
    return left == right


def _ordered(walker: Walker, op: ast.cmpop, left: object, right: object) -> bool:
    comparable = (isinstance(left, int | float) and isinstance(right, int | float)) or (
        isinstance(left, str | list) and type(left) is type(right)
    )
    if not comparable:
        raise Problem(f"{shown(left)} and {shown(right)} have no order")
    for side in (left, right):
        walker.weigh(side)
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


def _conditional(walker: Walker, node: ast.expr) -> object:
    assert isinstance(node, ast.IfExp)  # noqa: S101
    return walker.value(node.body if walker.value(node.test) else node.orelse)


def _display(walker: Walker, node: ast.expr) -> object:
    assert isinstance(node, ast.List | ast.Tuple | ast.Set)  # noqa: S101
    items = [walker.value(item) for item in node.elts]
    return set(items) if isinstance(node, ast.Set) else items


def _dict(walker: Walker, node: ast.expr) -> object:
    assert isinstance(node, ast.Dict)  # noqa: S101
    if any(key is None for key in node.keys):
        raise Problem("objects cannot be unpacked")
    pairs = zip(node.keys, node.values, strict=True)
    return {walker.value(key): walker.value(value) for key, value in pairs if key is not None}


def _comprehension(walker: Walker, node: ast.expr) -> object:
    assert isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp)  # noqa: S101
    items = [walker.value(node.elt) for _ in walker.bindings(node.generators)]
    return set(items) if isinstance(node, ast.SetComp) else items


def _dict_comprehension(walker: Walker, node: ast.expr) -> object:
    assert isinstance(node, ast.DictComp)  # noqa: S101
    return {walker.value(node.key): walker.value(node.value) for _ in walker.bindings(node.generators)}


HANDLERS: dict[type[ast.expr], Callable[[Walker, ast.expr], object]] = {
    ast.Constant: lambda _, node: getattr(node, "value"),  # noqa: B009 - every Constant has one
    ast.Name: lambda walker, node: walker.name(node) if isinstance(node, ast.Name) else None,
    ast.Call: lambda walker, node: walker.call(node) if isinstance(node, ast.Call) else None,
    ast.Attribute: _attribute,
    ast.Subscript: _subscript,
    ast.BoolOp: _bool,
    ast.UnaryOp: _unary,
    ast.BinOp: _binary,
    ast.Compare: _compare,
    ast.IfExp: _conditional,
    ast.List: _display,
    ast.Tuple: _display,
    ast.Set: _display,
    ast.Dict: _dict,
    ast.ListComp: _comprehension,
    ast.SetComp: _comprehension,
    ast.GeneratorExp: _comprehension,
    ast.DictComp: _dict_comprehension,
}
