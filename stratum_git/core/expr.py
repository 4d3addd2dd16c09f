"""The expressions of a spec: a small, safe part of Python's, evaluated by walking its syntax tree.

Whatever is not listed here is refused before anything is evaluated, and evaluation is bounded in steps and
in the size of every value. An attribute is a key of a dictionary and nothing else, so there is no way from
data to the interpreter's own objects.
"""

from __future__ import annotations

import ast
import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stratum_git.core.expr_eval import Calls, Files, Problem, Walker
from stratum_git.core.expr_functions import FUNCTIONS, METHODS, call_function, call_method
from stratum_git.model.ids import Json

LENGTH = 4000
DEPTH = 50
NODES = 2000

ALLOWED: tuple[type[ast.AST], ...] = (
    ast.Expression, ast.Constant, ast.Name, ast.Load, ast.Store, ast.Attribute, ast.Subscript, ast.Slice,
    ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn, ast.Is, ast.IsNot,
    ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.BinOp, ast.Add, ast.Sub,
    ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.IfExp, ast.List, ast.Tuple, ast.Set, ast.Dict,
    ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.comprehension, ast.Call, ast.keyword,
)  # fmt: skip

CALLS = Calls(call_function, call_method)


@dataclass(frozen=True, slots=True)
class Value:
    """What an expression comes to."""

    value: object


@dataclass(frozen=True, slots=True)
class Broken:
    """An expression that comes to nothing, and why. ``violations`` are sentences that a function gave."""

    reason: str
    violations: tuple[str, ...] = ()


def refusal(source: str) -> str | None:
    """Returns why *source* is not an expression that is accepted, or ``None`` when it is."""
    parsed = _parse(source)
    return parsed if isinstance(parsed, str) else None


def evaluate(source: str, names: Mapping[str, Json], files: Files | None) -> Value | Broken:
    """Returns what *source* comes to. It never raises and always ends."""
    parsed = _parse(source)
    if isinstance(parsed, str):
        return Broken(parsed)
    try:
        return Value(Walker(names, files, CALLS).value(parsed.body))
    except Problem as problem:
        return Broken(problem.reason, problem.violations)
    except RecursionError:
        return Broken("it is nested too deep")
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, MemoryError) as error:
        return Broken(f"{type(error).__name__}: {error}"[:300])


def judge(ensures: Sequence[str], names: Mapping[str, Json], files: Files | None) -> tuple[str, ...]:
    """Returns a sentence for every postcondition that does not hold."""
    found: list[str] = []
    for source in ensures:
        match evaluate(source, names, files):
            case Value(value=value) if value:
                pass
            case Value():
                found.append(f"ensure failed: {source}")
            case Broken(violations=violations) if violations:
                found += violations
            case Broken(reason=reason):
                found.append(f"ensure could not be evaluated: {source}: {reason}")
    return tuple(found)


def _parse(source: str) -> ast.Expression | str:
    if len(source) > LENGTH:
        return f"it is longer than {LENGTH} characters"
    # Python reads names in this normal form, so a dunder may hide behind other characters until here.
    text = unicodedata.normalize("NFKC", source).strip()
    if not text:
        return "it is empty"
    if _depth(text) > DEPTH:
        return "it is nested too deep"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text, mode="eval")
    except SyntaxError as error:
        return f"it is not an expression: {error.msg}"
    except (ValueError, RecursionError, MemoryError) as error:
        return f"it cannot be read: {error}"
    return _refused(tree) or tree


def _depth(text: str) -> int:
    """Returns how deep brackets and prefix operators nest, before the parser has to follow them."""
    depth = deepest = run = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        run = run + 1 if character in "-+~ " else 0
        deepest = max(deepest, depth, run)
    return max(deepest, text.count("not not "), text.count("**"), text.count("lambda"))


def _refused(tree: ast.Expression) -> str | None:
    count = 0
    todo: list[tuple[ast.AST, int]] = [(tree, 0)]
    while todo:
        node, depth = todo.pop()
        count += 1
        if count > NODES:
            return "it is too large"
        if depth > DEPTH * 2:
            return "it is nested too deep"
        reason = _refused_node(node)
        if reason is not None:
            return reason
        todo += [(child, depth + 1) for child in ast.iter_child_nodes(node)]
    return None


def _refused_node(node: ast.AST) -> str | None:
    match node:
        case ast.Constant(value=value) if isinstance(value, bytes | complex) or value is ...:
            return "only texts, numbers, true, false and null can be written"
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.keyword(arg=str(name)) if "__" in name:
            return f"{name} is not a name that can be used"
        case ast.keyword(arg=None) | ast.Starred():
            return "arguments cannot be unpacked"
        case ast.Call(func=ast.Name(id=name)) if name not in FUNCTIONS:
            return f"there is no function {name} (there are: {', '.join(FUNCTIONS)})"
        case ast.Call(func=ast.Attribute(attr=name)) if name not in METHODS:
            return f"there is no method {name} (there are: {', '.join(METHODS)})"
        case ast.Call(func=ast.Name() | ast.Attribute()):
            return None
        case ast.Call():
            return "only functions with a name can be called"
        case ast.comprehension(is_async=1):
            return "async is not part of an expression"
        case _ if not isinstance(node, ALLOWED):
            return f"{type(node).__name__} is not part of an expression here"
        case _:
            return None
