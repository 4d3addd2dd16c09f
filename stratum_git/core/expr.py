"""The expressions of a spec: a small, safe part of Python's, evaluated by walking its syntax tree.

Whatever is not listed here is refused before anything is evaluated, and evaluation is bounded in steps and
in the size of every value. An attribute is a key of an object and nothing else, so there is no way from
data to the interpreter's own objects.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from stratum_git.core.expr_eval import Walker
from stratum_git.core.expr_functions import FUNCTIONS, METHODS
from stratum_git.core.expr_values import Files, Problem, Sandbox
from stratum_git.model.ids import Json
from stratum_git.model.values import dataclass

__all__ = ["Broken", "Evaluation", "Files", "Value", "evaluate", "judge", "refusal"]

LENGTH = 4000
DEPTH = 50
SAID = 500
"""Characters of a reason or a violation; data may have a part in them."""
ANSWER = 1_000_000
"""Elements, and hundreds of characters, of what an expression may come to."""

ALLOWED: tuple[type[ast.AST], ...] = (
    ast.Expression, ast.Constant, ast.Name, ast.Load, ast.Store, ast.Attribute, ast.Subscript, ast.Slice,
    ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn, ast.Is, ast.IsNot,
    ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.BinOp, ast.Add, ast.Sub,
    ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.IfExp, ast.List, ast.Tuple, ast.Set, ast.Dict,
    ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.comprehension, ast.Call, ast.keyword,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Value:
    """What an expression comes to. A set comes to a sorted list."""

    value: Json


@dataclass(frozen=True, slots=True)
class Broken:
    """An expression that comes to nothing, and why. ``violations`` are sentences that a function gave."""

    reason: str
    violations: tuple[str, ...] = ()


Evaluation: TypeAlias = Value | Broken


def refusal(source: str) -> str | None:
    """Returns why *source* is not an expression that is accepted, in one line, or ``None`` when it is.

    Any plain name is accepted: whether there is such a thing is known when the expression is evaluated.
    """
    parsed = _parse(source)
    return parsed if isinstance(parsed, str) else None


def evaluate(source: str, names: Mapping[str, Json], files: Files | None) -> Evaluation:
    """Returns what *source* comes to. No source and no names make it raise or run on."""
    try:
        found = _evaluate(source, names, files)
        return found if isinstance(found, Broken) else Value(_plain(found.value, [ANSWER]))
    except Problem as problem:
        return Broken(problem.reason)
    except RecursionError:
        return Broken("it comes to something nested too deep")


def judge(ensures: Sequence[str], names: Mapping[str, Json], files: Files | None) -> tuple[str, ...]:
    """Returns a sentence for every postcondition that does not hold."""
    return tuple(line for source in ensures for line in _violations(source, names, files))


@dataclass(frozen=True, slots=True)
class _Raw:
    """What the walk over a tree came to: JSON, but for sets, and perhaps too large to be written down."""

    value: object


def _violations(source: str, names: Mapping[str, Json], files: Files | None) -> Iterator[str]:
    found = _evaluate(source, names, files)
    if isinstance(found, _Raw):
        if not found.value:
            yield f"ensure '{_line(source)}' failed"
    elif found.violations:
        yield from found.violations
    else:
        yield f"Ensure expression '{_line(source)}' raised: {found.reason}"


def _evaluate(source: str, names: Mapping[str, Json], files: Files | None) -> _Raw | Broken:
    parsed = _parse(source)
    if isinstance(parsed, str):
        return Broken(parsed)
    try:
        return _Raw(Walker(names, Sandbox(files)).value(parsed.body))
    except Problem as problem:
        return Broken(_line(problem.reason), tuple(map(_line, problem.violations)))
    except RecursionError:
        return Broken("it is nested too deep")
    except (ArithmeticError, LookupError, MemoryError, TypeError, ValueError) as error:
        return Broken(_line(f"{type(error).__name__}: {error}"))


def _plain(value: object, left: list[int]) -> Json:
    """Returns a value as JSON; ``left`` is what may still be written.

    A list can hold one list many times and be far larger when written than in memory.
    """
    left[0] -= 1 + (len(value) // 100 if isinstance(value, str) else 0)
    if left[0] < 0:
        raise Problem("it comes to something too large")
    match value:
        case None | bool() | int() | float() | str():
            return value
        case dict():
            return {str(key): _plain(item, left) for key, item in value.items()}
        case set():
            return [_plain(item, left) for item in Sandbox(None).elements(value)]
        case list() | tuple():
            return [_plain(item, left) for item in value]
        case _:
            raise Problem("it comes to something that is not JSON")


def _line(text: str) -> str:
    return " ".join(text.split())[:SAID]


def _parse(source: str) -> ast.Expression | str:
    if len(source) > LENGTH:
        return f"it is longer than {LENGTH} characters"
    if not source.strip():
        return "it is empty"
    try:
        # A text with an unknown escape, such as '\d', is a warning that nobody here could act on.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source.strip(), mode="eval")
    except SyntaxError as error:
        return _line(f"it is not an expression: {error.msg}")
    except (MemoryError, RecursionError):
        # The parser has limits of its own, found to hold for every source of this length.
        return "it is nested too deep"
    except (ArithmeticError, ValueError) as error:
        return _line(f"it cannot be read: {error}")
    return _refusal(tree) or tree


def _refusal(tree: ast.Expression) -> str | None:
    todo: list[tuple[ast.AST, int]] = [(tree, 0)]
    while todo:
        node, depth = todo.pop()
        if depth > DEPTH:
            return "it is nested too deep"
        reason = _form_refusal(node) or _name_refusal(node)
        if reason is not None:
            return reason
        todo += [(child, depth + 1) for child in ast.iter_child_nodes(node)]
    return None


def _form_refusal(node: ast.AST) -> str | None:
    match node:
        case ast.Constant(value=value) if isinstance(value, bytes | complex) or value is ...:
            return "only texts, numbers, true, false and null can be written"
        case ast.keyword(arg=None) | ast.Starred():
            return "nothing can be unpacked with a star"
        case ast.Dict(keys=keys) if None in keys:
            return "nothing can be unpacked with a star"
        case ast.comprehension(is_async=1):
            return "async is not part of an expression here"
        case ast.comprehension(target=target) if not _binds_names(target):
            return "a loop can only give names to elements"
        case _ if not isinstance(node, ALLOWED):
            return f"{type(node).__name__} is not part of an expression here"
        case _:
            return None


def _name_refusal(node: ast.AST) -> str | None:
    match node:
        # Python has put these into its normal form, so a dunder in other characters is a dunder by now.
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.keyword(arg=str(name)) if "__" in name:
            return f"{name} is not a name that can be used"
        case ast.Call(func=ast.Name(id=name), args=given, keywords=named):
            if name not in FUNCTIONS:
                return f"there is no function {name} (there are: {', '.join(FUNCTIONS)})"
            reason = FUNCTIONS[name].refusal(len(given), [word.arg or "" for word in named])
            return None if reason is None else f"{name} {reason}"
        case ast.Call(func=ast.Attribute(attr=name)) if name not in METHODS:
            return f"there is no method {name} (there are: {', '.join(METHODS)})"
        case ast.Call(func=ast.Attribute(), keywords=[_, *_]):
            return "methods take no named arguments"
        case ast.Call(func=func) if not isinstance(func, ast.Name | ast.Attribute):
            return "only functions with a name can be called"
        case _:
            return None


def _binds_names(target: ast.expr) -> bool:
    match target:
        case ast.Name():
            return True
        case ast.Tuple(elts=targets) | ast.List(elts=targets):
            return all(map(_binds_names, targets))
        case _:
            return False
