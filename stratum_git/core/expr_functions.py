"""What an expression can call: a few of Python's functions and methods, and the protocol's own."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

import yaml

from stratum_git.core.expr_eval import Problem, Walker, bounded, elements, shown
from stratum_git.core.paths import overlap

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
METHODS: tuple[str, ...] = (
    "startswith", "endswith", "lower", "upper", "strip", "lstrip", "rstrip", "split", "replace", "count",
    "index", "find", "join", "keys", "values", "items", "get", "isdigit",
)  # fmt: skip
OF_TEXT = frozenset(METHODS) - {"keys", "values", "items", "get"}
OF_LIST = frozenset({"count", "index"})
OF_OBJECT = frozenset({"keys", "values", "items", "get"})


def call_method(walker: Walker, value: object, name: str, arguments: list[object]) -> object:
    """Returns what a method of a text, list or object gives."""
    if isinstance(value, dict):
        if name not in OF_OBJECT:
            raise Problem(f"an object has no method {name}")
        walker.step(len(value))
        found = getattr(value, name)(*arguments)
        return found if name == "get" else list(found)
    if isinstance(value, str) and name in OF_TEXT:
        return _text_method(walker, value, name, arguments)
    if isinstance(value, list) and name in OF_LIST:
        walker.weigh(value)
        return getattr(value, name)(*arguments)
    raise Problem(f"{shown(value)} has no method {name}")


def call_function(walker: Walker, name: str, arguments: list[object], named: dict[str, object]) -> object:
    """Returns what a function gives."""
    function = FUNCTIONS[name]
    if named and name not in {"plan_completion", "vocabulary_compliance"}:
        raise Problem(f"{name} takes no named arguments")
    return function(walker, *arguments, **named)


def _text_method(walker: Walker, text: str, name: str, arguments: list[object]) -> object:
    walker.step(len(text) // 100)
    if name == "join":
        items = [_joinable(item) for item in elements(arguments[0])] if arguments else []
        if sum(map(len, items)) + len(text) * len(items) > 1_000_000:
            raise Problem("a value is too long")
        return text.join(items)
    if name == "replace" and len(arguments) >= 2:
        old, new = str(arguments[0]), str(arguments[1])
        if len(text) + (text.count(old) + 1) * len(new) > 1_000_000:
            raise Problem("a value is too long")
    return getattr(text, name)(*arguments)


def _joinable(item: object) -> str:
    if not isinstance(item, str):
        raise Problem(f"{shown(item)} cannot be joined; only texts can")
    return item


def _items(walker: Walker, value: object) -> list[object]:
    found = list(elements(value))
    walker.step(len(found))
    return found


def _numbers(walker: Walker, value: object) -> list[float]:
    found = _items(walker, value)
    numbers = [item for item in found if isinstance(item, int | float)]
    if len(numbers) != len(found):
        raise Problem("not all of them are numbers")
    return numbers


def _len(_: Walker, value: object) -> object:
    if not isinstance(value, str | list | tuple | set | dict):
        raise Problem(f"{shown(value)} has no length")
    return len(value)


def _int(_: Walker, value: object) -> object:
    if isinstance(value, str) and len(value) > 100:
        raise Problem("a number is too large")
    if not isinstance(value, str | int | float):
        raise Problem(f"{shown(value)} is not a number")
    return int(value)


def _float(_: Walker, value: object) -> object:
    if not isinstance(value, str | int | float):
        raise Problem(f"{shown(value)} is not a number")
    return float(value)


def _str(walker: Walker, value: object) -> object:
    if isinstance(value, str | int | float | bool) or value is None:
        return str(value)
    walker.weigh(value)
    return bounded(repr(value))


def _extreme(choose: Callable[..., object]) -> Callable[..., object]:
    def function(walker: Walker, *values: object) -> object:
        found = _items(walker, values[0]) if len(values) == 1 else list(values)
        walker.weigh(found)
        if not found:
            raise Problem("there is nothing to choose from")
        return choose(found)

    return function


def _sorted(walker: Walker, value: object) -> object:
    walker.weigh(value)
    found: list[float] = _items(walker, value)  # type: ignore[assignment]  # unlike things: told as a TypeError
    return sorted(found)


def _sum(walker: Walker, value: object) -> object:
    return sum(_numbers(walker, value))


def _round(_: Walker, value: object, digits: object = None) -> object:
    if not isinstance(value, int | float) or not isinstance(digits, int | None):
        raise Problem("round takes a number, and digits")
    if digits is not None and abs(digits) > 300:
        raise Problem("a number is too large")
    return round(value, digits)


def _abs(_: Walker, value: object) -> object:
    if not isinstance(value, int | float):
        raise Problem(f"{shown(value)} is not a number")
    return abs(value)


# --- files ------------------------------------------------------------------------------------------------


def _path(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value or value.startswith("/"):
        raise Problem(f"{value!r} is not a path relative to the repository"[:200])
    if ".." in PurePosixPath(value).parts:
        raise Problem(f"{value} leaves the repository")
    return str(PurePosixPath(value))


def _file_exists(walker: Walker, path: object) -> object:
    if walker.files is None:
        raise Problem("files cannot be asked about here")
    walker.step(100)
    return walker.files.exists(_path(path))


def _file_contains(walker: Walker, path: object, text: object) -> object:
    if walker.files is None:
        raise Problem("files cannot be asked about here")
    walker.step(100)
    found = walker.files.text(_path(path))
    return found is not None and isinstance(text, str) and text in found


# --- the protocol's own -----------------------------------------------------------------------------------


def _no_file_conflicts(walker: Walker, tasks: object) -> object:
    rows = [row for row in _items(walker, tasks) if isinstance(row, dict)]
    ids = [str(row.get("id", number)) for number, row in enumerate(rows)]
    below = _ancestors(walker, rows, ids)
    found = []
    for i, first in enumerate(rows):
        for j in range(i + 1, len(rows)):
            if j in below[i] or i in below[j]:
                continue
            shared = _shared(walker, first, rows[j])
            if shared is not None:
                found.append(f"tasks {ids[i]} and {ids[j]} both own {shared} and may run at once")
    if found:
        raise Problem(found[0], tuple(found[:50]))
    return True


def _ancestors(walker: Walker, rows: Sequence[dict[str, object]], ids: Sequence[str]) -> list[set[int]]:
    index = {name: i for i, name in enumerate(ids)}
    direct = [[index[str(n)] for n in _list(row.get("depends_on")) if str(n) in index] for row in rows]
    found = []
    for start in range(len(rows)):
        seen: set[int] = set()
        todo = list(direct[start])
        while todo:
            at = todo.pop()
            if at not in seen:
                walker.step()
                seen.add(at)
                todo += direct[at]
        found.append(seen)
    return found


def _shared(walker: Walker, first: dict[str, object], second: dict[str, object]) -> str | None:
    for mine in _list(first.get("files_owned")):
        for other in _list(second.get("files_owned")):
            walker.step()
            if overlap(str(mine), str(other)):
                return str(mine)
    return None


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else []


def _plan_completion(walker: Walker, items: object, files_changed: object, threshold: object = 90) -> object:
    rows = [row for row in _items(walker, items) if isinstance(row, dict)]
    changed = {str(path) for path in _items(walker, files_changed)}
    open_rows = [row for row in rows if row.get("file") and str(row["file"]) not in changed]
    critical = [
        f"critical item missing: {row.get('text', row['file'])}" for row in open_rows if row.get("critical")
    ]
    if critical:
        raise Problem(critical[0], tuple(critical))
    done = 100.0 if not rows else 100.0 * (len(rows) - len(open_rows)) / len(rows)
    if not isinstance(threshold, int | float):
        raise Problem("the threshold is not a number")
    if done < threshold:
        raise Problem("incomplete", (f"plan completion is {done:.0f}%, below {threshold}%",))
    return True


def _vocabulary_compliance(
    walker: Walker, path: object, files_changed: object, git_fallback: object = None, base: object = "HEAD"
) -> object:
    del base
    if walker.files is None:
        raise Problem("files cannot be asked about here")
    text = walker.files.text(_path(path))
    changed = [str(item) for item in _items(walker, files_changed or [])]
    if not text or not text.strip():
        return True
    if not changed and git_fallback:
        raise Problem("git_fallback is not supported here; pass the changed files")
    words = _vocabulary(text)
    found = [line for name in changed for line in _misuses(walker, name, words)]
    if found:
        raise Problem(found[0], tuple(found[:100]))
    return True


def _vocabulary(text: str) -> dict[str, str]:
    """Returns rejected word -> canonical word."""
    try:
        data = yaml.safe_load(text) if "&" not in text else None
    except yaml.YAMLError as error:
        raise Problem(f"the vocabulary is not YAML: {error}") from error
    if not isinstance(data, dict):
        raise Problem("the vocabulary is not a map of words")
    words: dict[str, str] = {}
    for canonical, entry in data.items():
        reject = entry.get("reject") if isinstance(entry, dict) else None
        if not isinstance(reject, list) or not reject or set(entry) - {"reject", "reason"}:
            raise Problem(f"the vocabulary's entry {canonical} needs `reject`, and may have `reason`")
        for word in (canonical, *reject):
            if not isinstance(word, str) or not IDENTIFIER.fullmatch(word):
                raise Problem(f"{word!r} in the vocabulary is not an identifier"[:200])
        for word in reject:
            if word in words or word in data:
                raise Problem(f"{word} stands twice in the vocabulary")
            words[word] = str(canonical)
    return words


def _misuses(walker: Walker, name: str, words: dict[str, str]) -> list[str]:
    text = walker.files.text(_path(name)) if walker.files is not None else None
    found = []
    for number, line in enumerate((text or "").splitlines(), 1):
        walker.step()
        found += [
            f"{name}:{number}: write {words[word]}, not {word}"
            for word in dict.fromkeys(IDENTIFIER.findall(line))
            if word in words
        ]
    return found


FUNCTIONS: dict[str, Callable[..., object]] = {
    "len": _len,
    "bool": lambda _, value: bool(value),
    "int": _int,
    "float": _float,
    "str": _str,
    "max": _extreme(max),
    "min": _extreme(min),
    "any": lambda walker, value: any(_items(walker, value)),
    "all": lambda walker, value: all(_items(walker, value)),
    "sorted": _sorted,
    "sum": _sum,
    "abs": _abs,
    "round": _round,
    "file_exists": _file_exists,
    "file_contains": _file_contains,
    "no_file_conflicts": _no_file_conflicts,
    "plan_completion": _plan_completion,
    "vocabulary_compliance": _vocabulary_compliance,
}
