import pytest

from stratum_git.core.expr import Broken, Value, evaluate, judge, refusal
from stratum_git.model.ids import Json

NAMES: dict[str, Json] = {
    "result": {
        "count": 4,
        "ok": True,
        "name": "Ada Lovelace",
        "none": None,
        "a": {"b": [10, 20, 30], "c d": 1},
        "files": ["src/a.py", "src/b.py"],
        "items": [{"file": "x", "done": True}, {"file": "y", "done": False}],
    },
    "n": 7,
}

COMES_TO: list[tuple[str, Json]] = [
    # literals and names
    ("1", 1),
    ("1.5", 1.5),
    ("'a' \"b\"", "ab"),
    ("[true, false, null, True, False, None]", [True, False, None, True, False, None]),
    ("(1, 'a')", [1, "a"]),
    ("{'a': 1, 'b': [2]}", {"a": 1, "b": [2]}),
    ("{'b', 'a', 'b'}", ["a", "b"]),
    ("{3, 1, 2}", [1, 2, 3]),
    ("n", 7),
    ("  n  # a comment", 7),
    # a dictionary by dots and by brackets
    ("result.count", 4),
    ("result['count']", 4),
    ('result["a"].b[0]', 10),
    ("result.a.b", [10, 20, 30]),
    ("result.a['c d']", 1),
    ("result.a.b[-1]", 30),
    ("result.a.b[1:]", [20, 30]),
    ("result.a.b[::-1]", [30, 20, 10]),
    ("result.name[:3]", "Ada"),
    ("result.items", [{"file": "x", "done": True}, {"file": "y", "done": False}]),
    # comparison
    ("1 < 2 < 3", True),
    ("1 < 3 < 2", False),
    ("1 <= 1 and 2 >= 2 and 1 != 2 and 2 > 1", True),
    ("'z' in result", False),
    ("'count' in result", True),
    ("'src/a.py' in result.files", True),
    ("'x' not in result.files", True),
    ("'Love' in result.name", True),
    ("[1] in [[1], [2]]", True),
    ("result.none is None", True),
    ("result.none is null", True),
    ("result.count is not null", True),
    ("result.ok is True", True),
    ("{1, 2} == {2, 1}", True),
    ("[1, 2] == [1, 2.0]", True),
    ("[1, 2] < [1, 3]", True),
    ("'1' == 1", False),
    # logic
    ("result.ok and 'yes' or 'no'", "yes"),
    ("not result.ok", False),
    ("0 or []", []),
    ("null and nothing.at.all", None),
    ("'a' if n > 5 else missing", "a"),
    # arithmetic
    ("2 + 3 * 4 - 1", 13),
    ("7 / 2", 3.5),
    ("-7 // 2", -4),
    ("7 % 4", 3),
    ("2 ** 10", 1024),
    ("2 ** -1", 0.5),
    ("-n + +n", 0),
    ("'ab' + 'cd'", "abcd"),
    ("'ab' * 2", "abab"),
    ("2 * [1]", [1, 1]),
    ("[1] + [2]", [1, 2]),
    # comprehensions, in which outer names are seen
    ("[x * n for x in [1, 2] if x > 1]", [14]),
    ("[[x, y] for x in [1, 2] for y in [x, n] if y > x]", [[1, 7], [2, 7]]),
    ("[x for x in result.files if x in result.files]", ["src/a.py", "src/b.py"]),
    ("{x['file']: x.done for x in result.items}", {"x": True, "y": False}),
    ("{x % 2 for x in [1, 2, 3]}", [0, 1]),
    ("[k for k, v in {'a': 1, 'b': 2}.items() if v > 1]", ["b"]),
    ("[a + b for [a, (b, c)] in [[1, [2, 3]]]]", [3]),
    ("all(f.startswith('src/') for f in result.files)", True),
    ("any(not i.done for i in result.items)", True),
    ("[x for x in 'ab']", ["a", "b"]),
    ("[k for k in {'q': 1}]", ["q"]),
    ("[x for x in {'b', 'c', 'a'}]", ["a", "b", "c"]),
    ("[n for n in [1]] + [n]", [1, 7]),
    # functions
    ("len(result.files)", 2),
    ("len({1, 1}) + len('abc') + len(result)", 11),
    ("bool([])", False),
    ("int('12') + int(1.9) + int(true)", 14),
    ("float('1.5')", 1.5),
    ("str(12) + str(null) + str([1, 'a'])", "12None[1, 'a']"),
    ("max(1, 3, 2) + min([5, 4])", 7),
    ("max('a', 'b')", "b"),
    ("sorted([3, 1, 2])", [1, 2, 3]),
    ("sorted({'b': 1, 'a': 2})", ["a", "b"]),
    ("sum([1, 2.5])", 3.5),
    ("abs(-3)", 3),
    ("round(2.567, 1) + round(2.4)", 4.6),
    # methods
    ("'Ab'.lower() + 'Ab'.upper()", "abAB"),
    ("' a '.strip() + ' b'.lstrip() + 'c '.rstrip()", "abc"),
    ("'a,b'.split(',')", ["a", "b"]),
    ("'a  b'.split()", ["a", "b"]),
    ("'aXbX'.replace('X', '-')", "a-b-"),
    ("'abab'.count('b') + [1, 1].count(1)", 4),
    ("'abc'.index('c') + [5, 6].index(6) + 'abc'.find('z')", 2),
    ("', '.join(result.files)", "src/a.py, src/b.py"),
    ("'12'.isdigit()", True),
    ("'a.py'.endswith(('.py', '.rs'))", True),
    ("'a.py'.startswith('b')", False),
    ("{'a': 1}.keys() + {'a': 1}.values()", ["a", 1]),
    ("{'a': 1}.items()", [["a", 1]]),
    ("result.get('count') + result.get('zzz', 1)", 5),
    ("result.get('zzz')", None),
    # an entry called like a method is an entry, until it is called
    ("{'items': 3}.items", 3),
    ("{'items': 3}.items()", [["items", 3]]),
    # texts keep their characters: only names are normalised
    ("'\ufb01\uff3f'", "\ufb01\uff3f"),
    ("'__class__'", "__class__"),
    ("result['a'] is not null and '(((' != '[[['", True),
]


@pytest.mark.parametrize(("source", "value"), COMES_TO)
def test_an_accepted_expression_comes_to_its_value(source: str, value: Json) -> None:
    assert refusal(source) is None
    found = evaluate(source, NAMES, None)
    assert found == Value(value)
    assert repr(found) == repr(Value(value))  # True is not 1


REFUSED = [
    "",
    "   ",
    "1 +",
    "x = 1",
    "import os",
    "1; 2",
    "lambda: 1",
    "lambda x: x",
    "(x := 1)",
    "f'{n}'",
    "f'{n!r:>100}'",
    "b'a'",
    "1j",
    "...",
    "[*result]",
    "{**result}",
    "len(*result)",
    "len(**result)",
    "[x for *x, y in [[1, 2]]]",
    "[x async for x in result]",
    "await n",
    "(yield n)",
    "1 @ 2",
    "1 | 2",
    "1 << 9",
    "~1",
    "[0 for n.a in [1]]",
    "[0 for n[0] in [1]]",
    # calls
    "eval('1')",
    "exec('1')",
    "open('x')",
    "getattr(n, 'a')",
    "type(n)",
    "isinstance(n, int)",
    "range(10)",
    "print(n)",
    "(n)()()",
    "[len][0](n)",
    "len()",
    "len(1, 2)",
    "max()",
    "round()",
    "file_exists()",
    "sorted(result, key=len)",
    "sorted(result, reverse=True)",
    "len(value=result)",
    "plan_completion(result, thresh=1)",
    "plan_completion(result, [], 90, threshold=1)",
    "plan_completion(result)",
    "'a'.split(sep=',')",
    # methods that are not data's
    "'{}'.format(n)",
    "'{0.x}'.format_map(result)",
    "'a'.encode()",
    "'a'.translate({})",
    "'a'.zfill(10)",
    "'a'.ljust(10)",
    "[1].append(2)",
    "result.update({})",
    "result.pop('a')",
    "(x for x in result).gi_frame.f_back.clear()",
    # dunders, however they are written
    "n.__class__",
    "().__class__.__bases__[0].__subclasses__()",
    "__import__('os')",
    "n.\uff3f\uff3fclass\uff3f\uff3f",
    "n._\uff3fclass_\uff3f",
    "\uff3f\uff3fimport\uff3f\uff3f('os')",
    "n.\ufe33\ufe33class\ufe33\ufe33",
    "n.__\U0001d450lass__",
    "[0 for __x in result]",
    "len(__v=1)",
    # sizes and shapes
    "1" * 100_000,
    "a" + " + a" * 60,
    "(" * 100 + "1" + ")" * 100 + "+1" * 60,
    "[" * 60 + "]" * 60,
    "[" * 1500 + "]" * 1500,
    "-" * 3000 + "1",
    "not " * 900 + "1",
    "lambda:" * 500 + "1",
    "a" + ".a" * 1900,
    "a" + "()" * 1900,
    "1" + "**1" * 1200,
    "1 if 1 else " * 300 + "1",
    "\0",
    "n\ud800",
]


@pytest.mark.parametrize("source", REFUSED, ids=lambda source: source[:40])
def test_every_other_form_is_refused_with_one_line(source: str) -> None:
    reason = refusal(source)
    assert reason
    assert "\n" not in reason
    assert len(reason) <= 500
    assert evaluate(source, NAMES, None) == Broken(reason)


def test_a_refusal_names_what_there_is() -> None:
    assert refusal("size(n)") == (
        "there is no function size (there are: len, bool, int, float, str, max, min, any, all, sorted, sum, "
        "abs, round, file_exists, file_contains, no_file_conflicts, plan_completion, vocabulary_compliance)"
    )
    assert refusal("lambda: 1") == "Lambda is not part of an expression here"
    assert refusal("n._\uff3fclass_\uff3f") == "__class__ is not a name that can be used"
    assert refusal("len(1, 2)") == "len takes value"


def test_any_plain_name_may_exist_until_it_is_asked_for() -> None:
    assert refusal("whatever.x > 3") is None
    assert evaluate("whatever", NAMES, None) == Broken("there is no whatever here (there is: result, n)")
    assert evaluate("whatever", {}, None) == Broken("there is no whatever here (there is: nothing)")


BROKEN = [
    ("result.cuont", "there is no cuont (there is: count, ok, name, none, a, files, items)"),
    ("result['x']", "there is no x (there is: count, ok, name, none, a, files, items)"),
    ("result.none.x", "null has no x"),
    ("result.files.x", "a list has no x"),
    ("result.files['x']", "a list has no x"),
    ("result.a.b[3]", "there is no element 3 in a list of 3"),
    ("result[0]", "an object has no entry that a whole number could name"),
    ("n[0]", "a whole number has no entry that a whole number could name"),
    ("n < 'a'", "a whole number and a text have no order"),
    ("null < 1", "null and a whole number have no order"),
    ("1 in 2", "a whole number has no elements"),
    ("1 in 'a'", "a whole number cannot be part of a text"),
    ("n is 7", "`is` compares with null, true or false; for the rest there is =="),
    ("1 / 0", "ZeroDivisionError: division by zero"),
    ("'a' - 1", "Sub does not work on a text and a whole number"),
    ("-'a'", "a text is not a number"),
    ("(-8) ** 0.5", "a negative number has no such root"),
    ("sorted([1, 'a'])", "TypeError: '<' not supported between instances of 'str' and 'int'"),
    ("int('x')", "ValueError: invalid literal for int() with base 10: 'x'"),
    ("max([])", "there is nothing to choose from"),
    ("[1].index(2)", "the list has no such element"),
    ("','.join([1])", "a whole number cannot be joined, only texts can"),
    ("n.lower()", "a whole number has no method lower that could be called like this"),
    ("{1: 2}", "the keys of an object are texts"),
    ("{[1]}", "a list cannot be in a set"),
    ("[a for a, b in [[1]]]", "1 values do not fit 2 names"),
    ("len", "there is no len here (there is: result, n)"),
    ("file_exists('a')", "files are not available here"),
    ("file_contains('a', 'b')", "files are not available here"),
]


@pytest.mark.parametrize(("source", "reason"), BROKEN)
def test_what_goes_wrong_is_told(source: str, reason: str) -> None:
    assert evaluate(source, NAMES, None) == Broken(reason)


def test_judging_gives_one_sentence_for_each_postcondition_that_does_not_hold() -> None:
    found = judge(
        ["result.count > 3", "result.count > 5", "result.a.zzz", "result.a.b[2] ==\n 31"], NAMES, None
    )
    assert found == (
        "ensure 'result.count > 5' failed",
        "Ensure expression 'result.a.zzz' raised: there is no zzz (there is: b, c d)",
        "Ensure expression 'result.a.b[2] == 31' raised: it is not an expression: invalid syntax",
    )


def test_judging_lists_the_violations_of_a_function_as_they_are() -> None:
    items: Json = [{"text": "t", "file": "f", "critical": True}, {"text": "u", "file": "g", "critical": True}]
    found = judge(["plan_completion(items, [])", "items"], {"items": items}, None)
    assert found == ("Missing critical item: t (expected in f)", "Missing critical item: u (expected in g)")


def test_truth_is_pythons() -> None:
    falsy = ["0", "''", "[]", "{}", "null", "false", "0.0"]
    assert judge(falsy, {}, None) == tuple(f"ensure '{source}' failed" for source in falsy)
    assert judge(["1", "'a'", "[0]", "{'a': 0}"], {}, None) == ()
