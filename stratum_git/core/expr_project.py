"""What an expression can ask about the project: its files, its task graph, its plan, its vocabulary.

The meaning of each is that of the protocol; paths never leave the repository.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TypeGuard

import yaml

from stratum_git.core.expr_conflicts import Owner, conflicts
from stratum_git.core.expr_values import Problem, Sandbox, shown
from stratum_git.core.heavy import posix_path
from stratum_git.core.paths import refusal_of_pattern

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SHOWN = 50
VOCABULARY = 100_000
"""Characters that a vocabulary may have; reading YAML takes a second for ten times as many."""


def file_exists(sandbox: Sandbox, given: Sequence[object]) -> object:
    """Returns whether a path is a file."""
    files, path = sandbox.files, _path(given[0])
    sandbox.step(100)
    return files.exists(path)


def file_contains(sandbox: Sandbox, given: Sequence[object]) -> object:
    """Returns whether a text stands in a file; not when the file has no text."""
    if not isinstance(given[1], str):
        raise Problem(f"{shown(given[1])} cannot be part of a text")
    text = _text(sandbox, _path(given[0]))
    return text is not None and given[1] in text


def no_file_conflicts(sandbox: Sandbox, given: Sequence[object]) -> object:
    """Returns true, or names the tasks that may run at once and own a common file."""
    rows = _objects(sandbox, given[0], "a task")
    # The sets of relatives are bits: a task has one for every other task.
    sandbox.step(len(rows) * len(rows) // 100_000)
    ids = [_string(row.get("id"), "the id of a task") for row in rows]
    index = {name: i for i, name in enumerate(ids)}
    if len(index) < len(ids):
        raise Problem("two tasks have one id")
    owners = [_owner(sandbox, row, index) for row in rows]
    found = conflicts(owners, sandbox.step, SHOWN)
    if found is None:
        raise Problem("tasks wait for each other", ("tasks wait for each other in a circle",))
    said = tuple(
        f"tasks {ids[c.first]} and {ids[c.second]} may run at once, and both own {_shared(c.patterns)}"
        for c in found
    )
    if said:
        raise Problem(said[0], said)
    return True


def plan_completion(sandbox: Sandbox, given: Sequence[object]) -> object:
    """Returns true, or says which critical items are not done, or how much is when that is too little."""
    items, files_changed, threshold = given
    rows = _objects(sandbox, items, "an item of a plan")
    if not isinstance(threshold, int | float):
        raise Problem("the threshold is not a number")
    changed = {str(posix_path(path)) for path in _strings(sandbox, files_changed, "a changed file")}
    missing = [row for row in rows if not _is_done(row, changed)]
    critical = tuple(f"Missing critical item: {_title(row)}" for row in missing if row.get("critical"))
    if critical:
        raise Problem(critical[0], critical)
    done = len(rows) - len(missing)
    if rows and 100 * done < threshold * len(rows):
        said = f"Plan completion {100 * done / len(rows):.0f}% is below threshold {threshold:.0f}%"
        raise Problem(said, (said, *(f"Missing item: {_title(row)}" for row in missing)))
    return True


def vocabulary_compliance(sandbox: Sandbox, given: Sequence[object]) -> object:
    """Returns true, or names each place in the changed files where a rejected word stands."""
    path, files_changed, git_fallback, base = given
    text = _text(sandbox, _path(path))
    if text is None or not text.strip():
        return True
    words = _vocabulary(text)
    changed = [] if files_changed is None else _strings(sandbox, files_changed, "a changed file")
    if not changed and git_fallback:
        changed = list(sandbox.files.changed(_string(base, "the base")))
        sandbox.step(len(changed))
    found: list[str] = []
    for name in changed:
        found += _misuses(sandbox, name, words)
    if found:
        raise Problem(found[0], tuple(found[:SHOWN]))
    return True


def _path(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise Problem(f"{shown(value)} is given where a path was expected")
    path = posix_path(value)
    if path.is_absolute() or ".." in path.parts:
        raise Problem(f"{value[:200]} is not a path inside of the repository")
    return str(path)


def _text(sandbox: Sandbox, path: str) -> str | None:
    sandbox.step(100)
    text = sandbox.files.text(path)
    sandbox.step(0 if text is None else len(text) // 10_000)
    return text


def _objects(sandbox: Sandbox, value: object, what: str) -> list[dict[str, object]]:
    found = []
    for item in _elements(sandbox, value):
        if not isinstance(item, dict):
            raise Problem(f"{what} is {shown(item)}, not an object")
        found.append(item)
    return found


def _strings(sandbox: Sandbox, value: object, what: str) -> list[str]:
    return [_string(item, what) for item in _elements(sandbox, value)]


def _string(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise Problem(f"{what} is {shown(value)}, not a text")
    return value


def _elements(sandbox: Sandbox, value: object) -> Iterator[object]:
    if isinstance(value, str):
        raise Problem("a text is given where a list was expected")
    for item in sandbox.elements(value):
        sandbox.step()
        yield item


def _owner(sandbox: Sandbox, row: dict[str, object], index: dict[str, int]) -> Owner:
    needs = _strings(sandbox, row.get("depends_on") or [], "an entry of depends_on")
    unknown = next((name for name in needs if name not in index), None)
    if unknown is not None:
        raise Problem(f"{unknown[:100]}, which a task depends on, is no task")
    patterns = _strings(sandbox, row.get("files_owned") or [], "an entry of files_owned")
    for pattern in patterns:
        refused = refusal_of_pattern(pattern)
        if refused is not None:
            raise Problem(f"{pattern[:100]!r} cannot be owned: {refused}")
    return Owner(tuple(index[name] for name in needs), tuple(patterns))


def _shared(patterns: tuple[str, str]) -> str:
    return patterns[0] if patterns[0] == patterns[1] else f"files of {patterns[0]} and {patterns[1]}"


def _is_done(row: dict[str, object], changed: set[str]) -> bool:
    file = row.get("file")
    return not file or str(posix_path(_string(file, "the file of an item"))) in changed


def _title(row: dict[str, object]) -> str:
    text, file = row.get("text"), row.get("file")
    if not isinstance(text, str) or not text:
        return _string(file, "the file of an item")
    return f"{text[:200]} (expected in {file[:200]})" if isinstance(file, str) else text[:200]


def _vocabulary(text: str) -> dict[str, str]:
    """Returns the word to write for each rejected word."""
    if len(text) > VOCABULARY:
        raise Problem("the vocabulary is too long")
    try:
        # The nodes, not the values: `on` and `null` are words here, and aliases are not multiplied.
        tree = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise Problem(f"the vocabulary is not YAML: {error}") from error
    words: dict[str, str] = {}
    seen: set[str] = set()
    for key, entry in _pairs(tree):
        canonical = _word(key)
        if canonical in seen:
            raise Problem(f"{canonical} stands twice in the vocabulary")
        seen.add(canonical)
        for word in _rejected(canonical, entry):
            if word in words or word == canonical:
                raise Problem(f"{word} is rejected twice in the vocabulary, or is its own replacement")
            words[word] = canonical
    both = next((word for word in words if word in seen), None)
    if both is not None:
        raise Problem(f"{both} is both rejected and to be written in the vocabulary")
    return words


def _pairs(node: yaml.Node | None) -> list[tuple[yaml.Node, yaml.Node]]:
    if node is None:
        return []
    if not isinstance(node, yaml.MappingNode):
        raise Problem("the vocabulary is not a map of words")
    return list(node.value)


def _rejected(canonical: str, entry: yaml.Node) -> list[str]:
    fields = {key.value: value for key, value in _pairs(entry) if _is_scalar(key)}
    reject = fields.get("reject")
    if set(fields) - {"reject", "reason"} or not isinstance(reject, yaml.SequenceNode) or not reject.value:
        raise Problem(f"the vocabulary's entry {canonical} takes `reject`, a list of words, and `reason`")
    return [_word(node) for node in reject.value]


def _word(node: yaml.Node) -> str:
    if not _is_scalar(node) or not IDENTIFIER.fullmatch(node.value):
        raise Problem(f"line {node.start_mark.line + 1} of the vocabulary has no identifier where one is due")
    return str(node.value)


def _is_scalar(node: yaml.Node) -> TypeGuard[yaml.ScalarNode]:
    return isinstance(node, yaml.ScalarNode)


def _misuses(sandbox: Sandbox, name: str, words: dict[str, str]) -> list[str]:
    text = _text(sandbox, _path(name)) or ""
    sandbox.step(len(text) // 1000)
    return [
        f"{name}:{number}: write {words[word]}, not {word}"
        for number, line in enumerate(text.split("\n"), 1)
        for word in dict.fromkeys(IDENTIFIER.findall(line))
        if word in words
    ]
