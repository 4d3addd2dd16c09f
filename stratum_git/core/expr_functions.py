"""What an expression can call: a few of Python's functions and methods, and the protocol's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

from stratum_git.core.expr_project import (
    file_contains,
    file_exists,
    no_file_conflicts,
    plan_completion,
    vocabulary_compliance,
)
from stratum_git.core.expr_values import LONGEST, Problem, Sandbox, scan, shown
from stratum_git.model.values import dataclass

METHODS: tuple[str, ...] = (
    "startswith", "endswith", "lower", "upper", "strip", "lstrip", "rstrip", "split", "replace", "count",
    "index", "find", "join", "keys", "values", "items", "get", "isdigit",
)  # fmt: skip
OF_OBJECT = frozenset({"keys", "values", "items", "get"})
OF_LIST = frozenset({"count", "index"})
OF_TEXT = frozenset(METHODS) - OF_OBJECT


@dataclass(frozen=True, slots=True)
class Function:
    """A function by the names of its parameters; ``defaults`` are those of the last ones.

    ``named`` says whether arguments may be given by name, ``many`` whether any number may be given.
    """

    run: Callable[[Sandbox, Sequence[object]], object]
    parameters: tuple[str, ...]
    defaults: tuple[object, ...] = ()
    named: bool = False
    many: bool = False

    def refusal(self, count: int, names: Sequence[str]) -> str | None:
        """Returns why *count* arguments and others with *names* cannot be given, or ``None``."""
        if names and not self.named:
            return "takes no named arguments"
        left = self.parameters[count:]
        wrong = next((name for name in names if name not in left), None)
        if wrong is not None:
            return f"cannot be given {wrong} by name"
        needed = len(self.parameters) - len(self.defaults)
        if (count > len(self.parameters) and not self.many) or set(self.parameters[count:needed]) - {*names}:
            return f"takes {', '.join(self.parameters)}"
        return None

    def call(self, sandbox: Sandbox, given: Sequence[object], named: Mapping[str, object]) -> object:
        """Returns what the function gives for arguments that were not refused."""
        needed = len(self.parameters) - len(self.defaults)
        rest = [
            named[name] if name in named else self.defaults[index - needed]
            for index, name in enumerate(self.parameters)
            if index >= len(given)
        ]
        return self.run(sandbox, [*given, *rest])


def call_method(sandbox: Sandbox, value: object, name: str, given: Sequence[object]) -> object:
    """Returns what a method of a text, list or object gives; raises Problem."""
    if isinstance(value, str) and name in OF_TEXT:
        return _text_method(sandbox, value, name, given)
    if isinstance(value, dict) and name in OF_OBJECT:
        return _object_method(sandbox, value, name, given)
    if isinstance(value, list | tuple) and name in OF_LIST and len(given) == 1:
        scan(sandbox, value, given[0])
        if name == "index" and given[0] not in value:
            raise Problem("the list has no such element")
        return getattr(value, name)(*given)
    raise Problem(f"{shown(value)} has no method {name} that could be called like this")


def _object_method(sandbox: Sandbox, value: dict[str, object], name: str, given: Sequence[object]) -> object:
    if name == "get":
        return value.get(*_text_first(given))
    if given:
        raise Problem(f"{name} takes no arguments")
    sandbox.step(len(value))
    if name == "items":
        return [list(pair) for pair in value.items()]
    return list(value) if name == "keys" else list(value.values())


def _text_first(given: Sequence[object]) -> tuple[str, object]:
    if not 1 <= len(given) <= 2 or not isinstance(given[0], str):
        raise Problem("get takes a key, and what to give where it is missing")
    return given[0], given[1] if len(given) == 2 else None


def _text_method(sandbox: Sandbox, text: str, name: str, given: Sequence[object]) -> object:
    sandbox.step(len(text) // (1000 if name in {"count", "find", "index", "startswith", "endswith"} else 100))
    if name == "join":
        return _joined(sandbox, text, given)
    if name == "replace":
        return _replaced(sandbox, text, given)
    if name in {"startswith", "endswith"} and given and isinstance(given[0], list):
        return any(getattr(text, name)(one, *given[1:]) for one in _listed(sandbox, given[0]))
    found = getattr(text, name)(*given)
    if isinstance(found, list):
        sandbox.step(len(found))
    return found


def _joined(sandbox: Sandbox, text: str, given: Sequence[object]) -> str:
    if len(given) != 1:
        raise Problem("join takes one list")
    items: list[str] = []
    length = 0
    for item in sandbox.elements(given[0]):
        sandbox.step()
        if not isinstance(item, str):
            raise Problem(f"{shown(item)} cannot be joined, only texts can")
        items.append(item)
        length += len(item) + len(text)
        if length > LONGEST:
            raise Problem("a value is too long")
    sandbox.step(length // 100)
    return text.join(items)


def _replaced(sandbox: Sandbox, text: str, given: Sequence[object]) -> str:
    if len(given) != 2 or not isinstance(given[0], str) or not isinstance(given[1], str):
        raise Problem("replace takes two texts")
    length = len(text) + text.count(given[0]) * len(given[1])
    if length > LONGEST:
        raise Problem("a value is too long")
    sandbox.step(length // 100)
    return text.replace(given[0], given[1])


def _listed(sandbox: Sandbox, value: object) -> list[object]:
    found = list(sandbox.elements(value))
    sandbox.step(len(found))
    return found


def _number(value: object) -> float:
    if not isinstance(value, int | float):
        raise Problem(f"{shown(value)} is not a number")
    return value


def _len(_: Sandbox, given: Sequence[object]) -> object:
    if not isinstance(given[0], str | list | tuple | set | dict):
        raise Problem(f"{shown(given[0])} has no length")
    return len(given[0])


def _int(_: Sandbox, given: Sequence[object]) -> object:
    return int(_readable(given[0]))


def _float(_: Sandbox, given: Sequence[object]) -> object:
    return float(_readable(given[0]))


def _readable(value: object) -> str | float:
    if isinstance(value, str):
        if len(value) > 100:
            raise Problem("a number is too large")
        return value
    return _number(value)


def _str(sandbox: Sandbox, given: Sequence[object]) -> object:
    if isinstance(given[0], set):
        raise Problem("a set cannot be written as a text")
    # One character may be written as ten.
    sandbox.weigh(given[0], characters=20)
    return str(given[0])


def _max(sandbox: Sandbox, given: Sequence[object]) -> object:
    return max(_candidates(sandbox, given))


def _min(sandbox: Sandbox, given: Sequence[object]) -> object:
    return min(_candidates(sandbox, given))


def _candidates(sandbox: Sandbox, given: Sequence[object]) -> list[float]:
    found = _comparable(sandbox, given[0]) if len(given) == 1 else _comparable(sandbox, list(given))
    if not found:
        raise Problem("there is nothing to choose from")
    return found


def _sorted(sandbox: Sandbox, given: Sequence[object]) -> object:
    return sorted(_comparable(sandbox, given[0]))


def _comparable(sandbox: Sandbox, value: object) -> list[float]:
    sandbox.weigh(value)
    # Texts or lists as well as numbers; unlike things are a TypeError and told as such.
    return cast("list[float]", _listed(sandbox, value))


def _sum(sandbox: Sandbox, given: Sequence[object]) -> object:
    return sum(_number(item) for item in _listed(sandbox, given[0]))


def _round(_: Sandbox, given: Sequence[object]) -> object:
    digits = given[1]
    if not isinstance(digits, int | None) or (digits is not None and abs(digits) > 300):
        raise Problem("round takes a number, and how many digits")
    return round(_number(given[0]), digits)


def _any(sandbox: Sandbox, given: Sequence[object]) -> object:
    return any(_listed(sandbox, given[0]))


def _all(sandbox: Sandbox, given: Sequence[object]) -> object:
    return all(_listed(sandbox, given[0]))


FUNCTIONS: dict[str, Function] = {
    "len": Function(_len, ("value",)),
    "bool": Function(lambda _, given: bool(given[0]), ("value",)),
    "int": Function(_int, ("value",)),
    "float": Function(_float, ("value",)),
    "str": Function(_str, ("value",)),
    "max": Function(_max, ("values",), many=True),
    "min": Function(_min, ("values",), many=True),
    "any": Function(_any, ("values",)),
    "all": Function(_all, ("values",)),
    "sorted": Function(_sorted, ("values",)),
    "sum": Function(_sum, ("values",)),
    "abs": Function(lambda _, given: abs(_number(given[0])), ("number",)),
    "round": Function(_round, ("number", "digits"), (None,)),
    "file_exists": Function(file_exists, ("path",)),
    "file_contains": Function(file_contains, ("path", "text")),
    "no_file_conflicts": Function(no_file_conflicts, ("tasks",)),
    "plan_completion": Function(plan_completion, ("items", "files_changed", "threshold"), (90,), named=True),
    "vocabulary_compliance": Function(
        vocabulary_compliance,
        ("path", "files_changed", "git_fallback", "base"),
        (False, "HEAD"),
        named=True,
    ),
}
