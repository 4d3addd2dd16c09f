"""Walks the syntax tree of an expression that was accepted, one step at a time."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from stratum_git.core.expr_functions import FUNCTIONS, call_method
from stratum_git.core.expr_values import (
    Problem,
    Sandbox,
    as_set,
    bounded,
    combined,
    entry,
    holds,
    member,
    negated,
    part,
)
from stratum_git.model.ids import Json

CONSTANTS: Mapping[str, object] = {"true": True, "false": False, "null": None}


class Walker:
    """Evaluates one expression."""

    def __init__(self, names: Mapping[str, Json], sandbox: Sandbox) -> None:
        self._names = names
        self._sandbox = sandbox
        # One dictionary for each comprehension that is being run, the innermost last.
        self._scopes: list[dict[str, object]] = []

    def value(self, node: ast.expr) -> object:
        """Returns what a node comes to; raises Problem."""
        self._sandbox.step()
        return bounded(self._value(node))

    def _value(self, node: ast.expr) -> object:
        match node:
            case ast.Constant(value=constant):
                return constant
            case ast.Name(id=name):
                return self._name(name)
            case ast.Attribute(value=of, attr=name):
                return member(self.value(of), name)
            case ast.Subscript(value=of, slice=ast.Slice(lower=lower, upper=upper, step=step)):
                ends = [None if end is None else self.value(end) for end in (lower, upper, step)]
                return part(self._sandbox, self.value(of), ends)
            case ast.Subscript(value=of, slice=key):
                return entry(self.value(of), self.value(key))
            case ast.Call():
                return self._call(node)
            case ast.UnaryOp(op=op, operand=operand):
                return negated(self.value(operand), op)
            case ast.BinOp(left=left, op=operator, right=right):
                return combined(self._sandbox, self.value(left), operator, self.value(right))
            case ast.BoolOp(op=connective, values=parts):
                return self._choice(parts, until=isinstance(connective, ast.Or))
            case ast.Compare():
                return self._comparison(node)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self.value(body if self.value(test) else orelse)
            case _:
                return self._display(node)

    def _display(self, node: ast.expr) -> object:
        match node:
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return [self.value(item) for item in items]
            case ast.Set(elts=items):
                return as_set(self._sandbox, [self.value(item) for item in items])
            case ast.Dict(keys=keys, values=values):
                pairs = zip(keys, values, strict=True)
                return {self._key(key): self.value(value) for key, value in pairs if key is not None}
            case (
                ast.ListComp(elt=element, generators=loops) | ast.GeneratorExp(elt=element, generators=loops)
            ):
                return [self.value(element) for _ in self._bindings(loops)]
            case ast.SetComp(elt=element, generators=loops):
                return as_set(self._sandbox, [self.value(element) for _ in self._bindings(loops)])
            case ast.DictComp(key=key, value=value, generators=loops):
                return {self._key(key): self.value(value) for _ in self._bindings(loops)}
            case _:
                raise Problem(f"{type(node).__name__} is not part of an expression here")

    def _key(self, node: ast.expr) -> str:
        key = self.value(node)
        if not isinstance(key, str):
            raise Problem("the keys of an object are texts")
        return key

    def _name(self, name: str) -> object:
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        if name in self._names:
            return self._names[name]
        if name in CONSTANTS:
            return CONSTANTS[name]
        known = ", ".join(list(self._names)[:20])
        raise Problem(f"there is no {name} here (there is: {known or 'nothing'})")

    def _call(self, node: ast.Call) -> object:
        given = [self.value(argument) for argument in node.args]
        named = {word.arg or "": self.value(word.value) for word in node.keywords}
        match node.func:
            case ast.Name(id=name):
                return FUNCTIONS[name].call(self._sandbox, given, named)
            case ast.Attribute(value=of, attr=name):
                return call_method(self._sandbox, self.value(of), name, given)
            case _:
                raise Problem("only functions with a name can be called")

    def _choice(self, parts: list[ast.expr], *, until: bool) -> object:
        value: object = None
        for node in parts:
            value = self.value(node)
            if bool(value) is until:
                break
        return value

    def _comparison(self, node: ast.Compare) -> bool:
        left = self.value(node.left)
        for op, other in zip(node.ops, node.comparators, strict=True):
            right = self.value(other)
            if not holds(self._sandbox, left, op, right):
                return False
            left = right
        return True

    def _bindings(self, loops: list[ast.comprehension]) -> Iterator[None]:
        """Yields once for every element of a comprehension, with its names bound."""
        first, *rest = loops
        for item in self._sandbox.elements(self.value(first.iter)):
            self._sandbox.step()
            scope: dict[str, object] = {}
            self._bind(scope, first.target, item)
            self._scopes.append(scope)
            if all(self.value(condition) for condition in first.ifs):
                if rest:
                    yield from self._bindings(rest)
                else:
                    yield
            self._scopes.pop()

    def _bind(self, scope: dict[str, object], target: ast.expr, item: object) -> None:
        match target:
            case ast.Name(id=name):
                scope[name] = item
            case ast.Tuple(elts=targets) | ast.List(elts=targets):
                values = self._sandbox.elements(item)
                if len(values) != len(targets):
                    raise Problem(f"{len(values)} values do not fit {len(targets)} names")
                for inner, value in zip(targets, values, strict=True):
                    self._bind(scope, inner, value)
            case _:
                raise Problem("only names can be bound")
