"""Declares classes of values as :mod:`dataclasses` does, in a tenth of its time.

That one writes and compiles six functions for each class, whether anybody uses it or not: with hundreds of
classes this was half of what a verb took to start. Here each function is made when it is first wanted, and
then does what the library's does (``tests/model/test_values.py`` compares them). The library itself, which
loads what reads source code, is loaded for nobody who does not ask for it; its ``fields``, ``replace`` and
``asdict`` work all the same. What nobody here uses (``order``, ``kw_only``, ``InitVar``) is not there.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from reprlib import recursive_repr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    # Types are checked as they are for those of the library.
    from dataclasses import MISSING as MISSING  # noqa: PLC0414 - exported
    from dataclasses import asdict as asdict  # noqa: PLC0414
    from dataclasses import dataclass as dataclass  # noqa: PLC0414
    from dataclasses import field as field  # noqa: PLC0414
    from dataclasses import fields as fields  # noqa: PLC0414
    from dataclasses import is_dataclass as is_dataclass  # noqa: PLC0414

    Make = Callable[["Shape"], object]


class Made:
    """The default of what a function makes, where a signature is shown."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<factory>"


MADE = Made()


class Part:
    """A field of a class; its attributes are called as those of the library's."""

    __slots__ = ("compare", "default", "default_factory", "init", "kw_only", "name", "repr", "type")

    def __init__(
        self, default: object, default_factory: object, *, init: bool, repr_: bool, compare: bool
    ) -> None:
        self.name = self.type = ""
        self.default = default
        self.default_factory = default_factory
        self.init = init
        self.repr = repr_
        self.compare = compare
        self.kw_only = False

    @property
    def is_optional(self) -> bool:
        """Returns whether it may be left out."""
        return self.default is not MISSING or self.default_factory is not MISSING


SLOT = type(Part.__dict__["name"])


class Shape:
    """How a class was declared, and the class."""

    __slots__ = ("cls", "is_frozen", "is_slotted", "parts")

    def __init__(self, cls: type, parts: tuple[Part, ...], *, is_frozen: bool, is_slotted: bool) -> None:
        self.cls = cls
        self.parts = parts
        self.is_frozen = is_frozen
        self.is_slotted = is_slotted


class Late:
    """Stands for a function of a class until it is wanted, and then puts it in its place."""

    __slots__ = ("make", "name", "shape")

    def __init__(self, name: str, make: Make, shape: Shape) -> None:
        self.name = name
        self.make = make
        self.shape = shape

    def __get__(self, value: object, kind: type | None = None) -> object:
        """Returns the function, bound as it would be. Two threads make the same one."""
        made = self.make(self.shape)
        setattr(self.shape.cls, self.name, made)
        bind = getattr(made, "__get__", None)
        return made if bind is None else bind(value, kind)


if not TYPE_CHECKING:

    class Missing:
        """The default of what has none."""

        __slots__ = ()

    MISSING = Missing()

    def dataclass(cls=None, /, *, frozen=False, slots=False, eq=True):  # noqa: ANN001, ANN201
        """Declares a class as the library's does."""
        if cls is None:
            return lambda cls: _declared(cls, is_frozen=frozen, is_slotted=slots, is_compared=eq)
        return _declared(cls, is_frozen=frozen, is_slotted=slots, is_compared=eq)

    def field(*, default=MISSING, default_factory=MISSING, init=True, repr=True, compare=True):  # noqa: A002, ANN001, ANN201
        """Returns what is said of a field, for the declaration of a class."""
        return Part(default, default_factory, init=init, repr_=repr, compare=compare)

    def is_dataclass(value: object) -> bool:
        """Returns whether *value* is such a class or a value of one, the library's included."""
        kind = value if isinstance(value, type) else type(value)
        return hasattr(kind, "__shape__") or hasattr(kind, "__dataclass_fields__")

    def fields(value):  # noqa: ANN001, ANN201
        """Returns the fields of a class or of a value, the library's included."""
        kind = value if isinstance(value, type) else type(value)
        for base in kind.__mro__:
            if "__shape__" in base.__dict__:
                return base.__dict__["__shape__"].parts
            if "__dataclass_fields__" in base.__dict__:
                break
        return import_module("dataclasses").fields(kind)

    def asdict(value):  # noqa: ANN001, ANN201
        """Returns the fields of a value by their names, and so on within; the rest is not copied."""
        return {part.name: _plain(getattr(value, part.name)) for part in fields(value)}


def _plain(value: object) -> object:
    if isinstance(value, list | tuple):
        return type(value)([_plain(item) for item in value])
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return asdict(value) if hasattr(type(value), "__shape__") else value  # type: ignore[call-overload]


def _declared(cls: type, *, is_frozen: bool, is_slotted: bool, is_compared: bool) -> type:
    own = _own_parts(cls)
    parts = {part.name: part for base in cls.__mro__[-1:0:-1] for part in _inherited(base)}
    parts.update((part.name, part) for part in own)
    shape = Shape(cls, tuple(parts.values()), is_frozen=is_frozen, is_slotted=is_slotted)
    _check(shape)
    added = _added(cls, shape, is_compared=is_compared)
    if not is_slotted:
        for name, item in added.items():
            setattr(cls, name, item)
        for part in own:
            _leave_default(cls, part)
        return cls
    shape.cls = _slotted(cls, shape, added)
    return shape.cls


def _own_parts(cls: type) -> list[Part]:
    found = []
    # A class's own: one that declares none does not have those of the class above.
    for name, said in cls.__annotations__.items():
        if not isinstance(said, str) or said.startswith(("ClassVar", "InitVar", "KW_ONLY")):
            raise TypeError(f"{cls.__name__}.{name} is not declared as a field here can be")
        given = getattr(cls, name, MISSING)
        # The default of a class above counts; a slot of it is none.
        given = MISSING if isinstance(given, SLOT) else given
        part = given if isinstance(given, Part) else Part(given, MISSING, init=True, repr_=True, compare=True)
        part.name, part.type = name, said
        found.append(part)
    return found


def _inherited(base: type) -> tuple[Part, ...]:
    shape = base.__dict__.get("__shape__")
    if shape is None and "__dataclass_fields__" in base.__dict__:
        raise TypeError(f"{base.__name__} was declared by the library")
    return () if shape is None else shape.parts


def _check(shape: Shape) -> None:
    before = ""
    for part in shape.parts:
        if getattr(type(part.default), "__hash__", None) is None:
            raise ValueError(f"the default of {shape.cls.__name__}.{part.name} can be changed")
        if part.init and not part.is_optional and before:
            raise TypeError(f"{part.name} of {shape.cls.__name__} has no default, and follows {before}")
        if part.init and part.is_optional:
            before = part.name


def _added(cls: type, shape: Shape, *, is_compared: bool) -> dict[str, object]:
    """Returns what the class gets, but for what it has itself."""
    has, frozen = cls.__dict__, shape.is_frozen
    late: dict[str, Make] = {"__init__": _init, "__repr__": _repr}
    if is_compared:
        late["__eq__"] = _eq
    found: dict[str, object] = {}
    if is_compared and (has.get("__hash__") is None and ("__hash__" not in has or "__eq__" in has)):
        if frozen:
            late["__hash__"] = _hash
        else:
            found["__hash__"] = None
    if frozen:
        late |= {"__setattr__": _setattr, "__delattr__": _delattr}
    if frozen and shape.is_slotted:
        found |= {"__getstate__": _getstate, "__setstate__": _setstate}
    found["__match_args__"] = tuple([part.name for part in shape.parts if part.init])
    found |= {name: Late(name, make, shape) for name, make in late.items()}
    found = {name: item for name, item in found.items() if name not in has or name == "__hash__"}
    found["__shape__"] = shape
    for name in ("__dataclass_fields__", "__dataclass_params__"):
        found[name] = Late(name, partial(_library_has, name), shape)
    return found


def _leave_default(cls: type, part: Part) -> None:
    """Leaves the default in the class, as the library does, where a field was declared with one."""
    if part.name in cls.__dict__ and isinstance(cls.__dict__[part.name], Part):
        if part.default is MISSING:
            delattr(cls, part.name)
        else:
            setattr(cls, part.name, part.default)


def _slotted(cls: type, shape: Shape, added: Mapping[str, object]) -> type:
    """Returns the class with slots: they cannot be given to one that is there."""
    if "__slots__" in cls.__dict__:
        raise TypeError(f"{cls.__name__} has slots already")
    names = [part.name for part in shape.parts]
    above = {name for base in cls.__mro__[1:-1] for name in _slots_of(base)}
    left = {"__dict__", "__weakref__", *names}
    body = {name: item for name, item in cls.__dict__.items() if name not in left}
    body |= {**added, "__slots__": tuple([name for name in names if name not in above])}
    made = type(cls)(cls.__name__, cls.__bases__, body)
    made.__qualname__ = cls.__qualname__
    return made


def _slots_of(base: type) -> tuple[str, ...]:
    slots = base.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _compiled(shape: Shape, head: str, lines: list[str], names: dict[str, object]) -> object:
    """Returns a function of a class, out of its text."""
    name = head.partition("(")[0]
    exec(f"def {head}:\n" + "".join(f" {line}\n" for line in lines or ["pass"]), names)  # noqa: S102 - ours
    made = names[name]
    setattr(made, "__qualname__", f"{shape.cls.__qualname__}.{name}")  # noqa: B010 - of any object
    setattr(made, "__module__", shape.cls.__module__)  # noqa: B010
    return made


def _init(shape: Shape) -> object:
    names: dict[str, object] = {"_made": MADE, "_set": object.__setattr__}
    # A field may be called self.
    me = "self" if all(part.name != "self" for part in shape.parts) else "__dataclass_self__"
    given, lines = [me], []
    for part in shape.parts:
        name, value = part.name, part.name
        if part.default_factory is not MISSING:
            names[f"_factory_{name}"] = part.default_factory
            made = f"_factory_{name}()"
            value = f"{name} if {name} is not _made else {made}" if part.init else made
        elif part.default is not MISSING:
            names[f"_default_{name}"] = part.default
            value = name if part.init else f"_default_{name}"
        if part.init:
            given.append(name + _default_of(part))
        elif not (part.default_factory is not MISSING or (shape.is_slotted and part.default is not MISSING)):
            continue
        lines.append(f"_set({me}, {name!r}, {value})" if shape.is_frozen else f"{me}.{name} = {value}")
    if hasattr(shape.cls, "__post_init__"):
        lines.append(f"{me}.__post_init__()")
    made_by = _compiled(shape, f"__init__({', '.join(given)})", lines, names)
    said = {part.name: part.type for part in shape.parts if part.init}
    setattr(made_by, "__annotations__", {**said, "return": None})  # noqa: B010 - of any object
    return made_by


def _default_of(part: Part) -> str:
    if part.default_factory is not MISSING:
        return " = _made"
    return "" if part.default is MISSING else f" = _default_{part.name}"


def _eq(shape: Shape) -> object:
    names = [part.name for part in shape.parts if part.compare]
    own, its = (f"({''.join(f'{who}.{name}, ' for name in names)})" for who in ("self", "other"))
    lines = ["if other.__class__ is self.__class__:", f" return {own} == {its}", "return NotImplemented"]
    return _compiled(shape, "__eq__(self, other)", lines, {})


def _hash(shape: Shape) -> object:
    own = "".join(f"self.{part.name}, " for part in shape.parts if part.compare)
    return _compiled(shape, "__hash__(self)", [f"return hash(({own}))"], {})


def _repr(shape: Shape) -> object:
    shown = ", ".join(f"{part.name}={{self.{part.name}!r}}" for part in shape.parts if part.repr)
    lines = [f"return self.__class__.__qualname__ + f'({shown})'"]
    made: Callable[[object], str] = _compiled(shape, "__repr__(self)", lines, {})  # type: ignore[assignment]
    return recursive_repr()(made)


def _setattr(shape: Shape) -> object:
    cls: type = shape.cls
    names = frozenset(part.name for part in shape.parts)

    def __setattr__(self: object, name: str, value: object) -> None:  # noqa: N807 - it is one
        if type(self) is cls or name in names:
            raise import_module("dataclasses").FrozenInstanceError(f"cannot assign to field {name!r}")
        super(cls, self).__setattr__(name, value)  # type: ignore[arg-type]  # no literal class

    return __setattr__


def _delattr(shape: Shape) -> object:
    cls: type = shape.cls
    names = frozenset(part.name for part in shape.parts)

    def __delattr__(self: object, name: str) -> None:  # noqa: N807 - it is one
        if type(self) is cls or name in names:
            raise import_module("dataclasses").FrozenInstanceError(f"cannot delete field {name!r}")
        super(cls, self).__delattr__(name)  # type: ignore[arg-type]  # no literal class

    return __delattr__


def _getstate(self: object) -> list[object]:
    return [getattr(self, part.name) for part in fields(self)]  # type: ignore[arg-type]


def _setstate(self: object, state: list[object]) -> None:
    for part, value in zip(fields(self), state, strict=True):  # type: ignore[arg-type]
        object.__setattr__(self, part.name, value)


def _library_has(name: str, shape: Shape) -> object:
    """Returns what the library notes of a class, for its functions and for classes below this one."""
    library = import_module("dataclasses")
    rows = []
    for part in shape.parts:
        said: dict[str, object] = {"init": part.init, "repr": part.repr, "compare": part.compare}
        if part.default is not MISSING:
            said["default"] = part.default
        if part.default_factory is not MISSING:
            said["default_factory"] = part.default_factory
        rows.append((part.name, part.type, library.field(**said)))
    made = library.make_dataclass(
        shape.cls.__name__, rows, init=False, repr=False, eq=False, frozen=shape.is_frozen
    )
    return getattr(made, name)
