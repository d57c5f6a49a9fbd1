"""As much of Lua as the checkpoint's scripts are written in, so that the simulation runs their own text.

A script becomes a tree of closures. What is not known here is an error with its name, never a guess; that the rest
means what Redis means by it is held against a real server in test_simulation.py. Lua's strings are `bytes`, its
numbers `int` or `float`, its tables `Table`; nil is None.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

Value = Any
Scope = dict[str, Value]
Expression = Callable[[Scope], list[Value]]
"""Gives all values of an expression: a call, or `...`, may have several, or none."""
Statement = Callable[[Scope], "Returned | None"]

_TOKEN: Final = re.compile(
    r"\s+|--[^\n]*|(?P<name>[A-Za-z_]\w*)|(?P<number>\d+(\.\d+)?)|(?P<string>'[^'\n]*'|\"[^\"\n]*\")"
    r"|(?P<sign>\.\.|==|~=|<=|>=|[-+*/%#<>=(){}\[\],;.:])"
)
_WORDS: Final = frozenset(
    [
        "and",
        "do",
        "else",
        "elseif",
        "end",
        "false",
        "for",
        "if",
        "in",
        "local",
        "nil",
        "not",
        "or",
        "return",
        "then",
        "true",
    ]
)
_BINARY: Final[tuple[tuple[str, ...], ...]] = (
    ("or",), ("and",), ("<", ">", "<=", ">=", "~=", "=="), ("..",), ("+", "-"), ("*", "/", "%"),
)  # fmt: skip
"""Weakest first."""


class LuaError(Exception):
    """The script does what it may not, or what this subset of Lua does not know."""


class Returned(list[Value]):
    """What a `return` gives."""


class Table:
    """A Lua table. Mutable state: its entries."""

    __slots__ = ("entries",)

    def __init__(self, values: "list[Value] | None" = None) -> None:
        self.entries: dict[Value, Value] = dict(enumerate(values or (), 1))

    def length(self) -> int:
        """Return the border: the number of entries from 1 on without a hole."""
        count = len(self.entries)
        while count and self.entries.get(count) is None:
            count -= 1
        return count

    def array(self) -> list[Value]:
        """Return the entries from 1 on up to the first nil."""
        return [self.entries[index] for index in range(1, self.length() + 1)]


def compile_script(text: str) -> Callable[[Mapping[str, Value]], Value]:
    """Return the script as a function of its globals; its value is that of its `return`, else None."""
    tokens = _Tokens(text)
    block = _block(tokens, ())
    if tokens.kind:
        raise LuaError(f"unexpected {tokens.text!r}")

    def run(given: Mapping[str, Value]) -> Value:
        scope: Scope = {**_LIBRARY, **given}
        returned = block(scope)
        return returned[0] if returned else None

    return run


class _Tokens:
    """The rest of the text. Mutable state: where we are."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        at = 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise LuaError(f"no token at {text[at : at + 20]!r}")
            if match.lastgroup or match.group("number"):
                kind = "number" if match.group("number") else str(match.lastgroup)
                word = match.group()
                self._tokens.append(("sign" if kind == "name" and word in _WORDS else kind, word))
            at = match.end()
        self._at = 0

    @property
    def kind(self) -> str:
        return self._tokens[self._at][0] if self._at < len(self._tokens) else ""

    @property
    def text(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def take(self) -> str:
        text = self.text
        self._at += 1
        return text

    def accept(self, *signs: str) -> bool:
        if self.kind == "sign" and self.text in signs:
            self._at += 1
            return True
        return False

    def expect(self, sign: str) -> None:
        if not self.accept(sign):
            raise LuaError(f"{sign!r} expected, not {self.text!r}")

    def name(self) -> str:
        if self.kind != "name":
            raise LuaError(f"a name expected, not {self.text!r}")
        return self.take()


def _block(tokens: _Tokens, ends: tuple[str, ...]) -> Statement:
    statements: list[Statement] = []
    while tokens.kind and not (tokens.kind == "sign" and tokens.text in ends):
        statements.append(_statement(tokens, ends))
        tokens.accept(";")

    def run(scope: Scope) -> Returned | None:
        for statement in statements:
            returned = statement(scope)
            if returned is not None:
                return returned
        return None

    return run


def _statement(tokens: _Tokens, ends: tuple[str, ...]) -> Statement:
    if tokens.accept("local"):
        names = [tokens.name()]
        while tokens.accept(","):
            names.append(tokens.name())
        return _assign(names, _expressions(tokens) if tokens.accept("=") else [])
    if tokens.accept("if"):
        return _conditional(tokens)
    if tokens.accept("for"):
        return _loop(tokens)
    if tokens.accept("return"):
        values = [] if not tokens.kind or tokens.text in ends else _expressions(tokens)
        return lambda scope: Returned(_all(values, scope))
    return _call_or_assignment(tokens)


def _call_or_assignment(tokens: _Tokens) -> Statement:
    if tokens.kind != "name":
        raise LuaError(f"no statement begins with {tokens.text!r}")
    first = tokens.text
    target, container, key = _suffixed(tokens)
    if not tokens.accept("="):
        if key is not None or container is not None:
            raise LuaError(f"{first!r} is no statement")

        def call(scope: Scope) -> None:
            target(scope)

        return call
    values = _expressions(tokens)
    if container is None or key is None:
        return _assign([first], values)

    def store(scope: Scope) -> None:
        _one(container, scope).entries[_one(key, scope)] = _first(_all(values, scope))

    return store


def _assign(names: list[str], values: list[Expression]) -> Statement:
    def run(scope: Scope) -> None:
        given = _all(values, scope)
        for index, name in enumerate(names):
            scope[name] = given[index] if index < len(given) else None

    return run


def _conditional(tokens: _Tokens) -> Statement:
    branches: list[tuple[Expression, Statement]] = []
    otherwise: Statement | None = None
    condition = _expression(tokens)
    tokens.expect("then")
    branches.append((condition, _block(tokens, ("elseif", "else", "end"))))
    while not tokens.accept("end"):
        if tokens.accept("elseif"):
            condition = _expression(tokens)
            tokens.expect("then")
            branches.append((condition, _block(tokens, ("elseif", "else", "end"))))
        else:
            tokens.expect("else")
            otherwise = _block(tokens, ("end",))

    def run(scope: Scope) -> Returned | None:
        for condition, block in branches:
            if _is_true(_one(condition, scope)):
                return block(scope)
        return otherwise(scope) if otherwise else None

    return run


def _loop(tokens: _Tokens) -> Statement:
    names = [tokens.name()]
    while tokens.accept(","):
        names.append(tokens.name())
    is_numeric = tokens.accept("=")
    if not is_numeric:
        tokens.expect("in")
    bounds = _expressions(tokens)
    tokens.expect("do")
    block = _block(tokens, ("end",))
    tokens.expect("end")

    def run(scope: Scope) -> Returned | None:
        given = _all(bounds, scope)
        if is_numeric:
            first, last, step = *given[:2], given[2] if len(given) > 2 else 1
            rounds: list[tuple[Value, ...]] = [(i,) for i in range(first, last + (1 if step > 0 else -1), step)]
        else:
            rounds = given[0]  # ipairs and pairs give the list of what they would go through
        for values in rounds:
            scope.update(zip(names, values, strict=False))
            returned = block(scope)
            if returned is not None:
                return returned
        return None

    return run


def _expressions(tokens: _Tokens) -> list[Expression]:
    expressions = [_expression(tokens)]
    while tokens.accept(","):
        expressions.append(_expression(tokens))
    return expressions


def _expression(tokens: _Tokens, level: int = 0) -> Expression:
    if level == len(_BINARY):
        return _unary(tokens)
    left = _expression(tokens, level + 1)
    while tokens.kind == "sign" and tokens.text in _BINARY[level]:
        sign = tokens.take()
        left = _binary(sign, left, _expression(tokens, level + 1))
    return left


def _binary(sign: str, left: Expression, right: Expression) -> Expression:
    if sign == "and":
        return lambda scope: [_one(right, scope) if _is_true(value := _one(left, scope)) else value]
    if sign == "or":
        return lambda scope: [value if _is_true(value := _one(left, scope)) else _one(right, scope)]
    compute = _OPERATIONS[sign]
    return lambda scope: [compute(_one(left, scope), _one(right, scope))]


def _unary(tokens: _Tokens) -> Expression:
    if tokens.accept("not"):
        operand = _unary(tokens)
        return lambda scope: [not _is_true(_one(operand, scope))]
    if tokens.accept("#"):
        operand = _unary(tokens)
        return lambda scope: [_length(_one(operand, scope))]
    if tokens.accept("-"):
        operand = _unary(tokens)
        return lambda scope: [-_number(_one(operand, scope))]
    return _simple(tokens)


def _simple(tokens: _Tokens) -> Expression:
    kind, text = tokens.kind, tokens.text
    if kind == "number":
        number = float(text) if "." in text else int(text)
        tokens.take()
        return lambda _: [number]
    if kind == "string":
        content = text[1:-1].encode().decode("unicode_escape").encode("latin-1")
        tokens.take()
        return lambda _: [content]
    if kind == "sign" and text in ("nil", "true", "false"):
        constant = {"nil": None, "true": True, "false": False}[tokens.take()]
        return lambda _: [constant]
    if tokens.accept("{"):
        values: list[Expression] = []
        while not tokens.accept("}"):
            values.append(_expression(tokens))
            tokens.accept(",", ";")
        return lambda scope: [Table(_all(values, scope))]
    if tokens.accept("("):
        inner = _expression(tokens)
        tokens.expect(")")
        return lambda scope: [_one(inner, scope)]
    return _suffixed(tokens)[0]


def _suffixed(tokens: _Tokens) -> tuple[Expression, Expression | None, Expression | None]:
    """Return a name with its calls and indices; and, if it ends in an index, the container and the key."""
    name = tokens.name()
    value: Expression = _variable(name)
    container: Expression | None = None
    key: Expression | None = None
    while True:
        if tokens.accept("."):
            field = tokens.name().encode()
            container, key = value, lambda _, field=field: [field]  # type: ignore[misc]
            value = _index(container, key)
        elif tokens.accept("["):
            container, key = value, _expression(tokens)
            tokens.expect("]")
            value = _index(container, key)
        elif tokens.accept("("):
            arguments: list[Expression] = []
            if not tokens.accept(")"):
                arguments = _expressions(tokens)
                tokens.expect(")")
            value = _call(value, arguments)
            container = key = None
        else:
            return value, container, key


def _variable(name: str) -> Expression:
    def read(scope: Scope) -> list[Value]:
        if name not in scope:
            raise LuaError(f"the subset does not know {name!r}")
        return [scope[name]]

    return read


def _index(container: Expression, key: Expression) -> Expression:
    def read(scope: Scope) -> list[Value]:
        table = _one(container, scope)
        if not isinstance(table, Table):
            raise LuaError(f"attempt to index a {type(table).__name__}")
        return [table.entries.get(_one(key, scope))]

    return read


def _call(function: Expression, arguments: list[Expression]) -> Expression:
    def call(scope: Scope) -> list[Value]:
        called = _one(function, scope)
        if not callable(called):
            raise LuaError(f"attempt to call {called!r}")
        return list(called(*_all(arguments, scope)))

    return call


def _all(expressions: list[Expression], scope: Scope) -> list[Value]:
    """Return one value of each, and all values of the last."""
    if not expressions:
        return []
    values = [_one(expression, scope) for expression in expressions[:-1]]
    return values + expressions[-1](scope)


def _one(expression: Expression, scope: Scope) -> Value:
    return _first(expression(scope))


def _first(values: list[Value]) -> Value:
    return values[0] if values else None


def _is_true(value: Value) -> bool:
    return value is not None and value is not False


def _length(value: Value) -> int:
    return value.length() if isinstance(value, Table) else len(value)


def _number(value: Value) -> int | float:
    """Return Lua's number of a number or of a decimal string."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    try:
        text = bytes(value).decode()
        return int(text) if re.fullmatch(r"\s*-?\d+\s*", text) else float(text)
    except (TypeError, ValueError):
        raise LuaError(f"attempt to compute with {value!r}") from None


def _text(value: Value) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _equal(left: Value, right: Value) -> bool:
    return type(left) is type(right) and left == right if isinstance(left, bytes | bool) else bool(left == right)


_OPERATIONS: Final[dict[str, Callable[[Value, Value], Value]]] = {
    "==": _equal,
    "~=": lambda a, b: not _equal(a, b),
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
    "..": lambda a, b: _text(a) + _text(b),
    "+": lambda a, b: _number(a) + _number(b),
    "-": lambda a, b: _number(a) - _number(b),
    "*": lambda a, b: _number(a) * _number(b),
    "/": lambda a, b: _number(a) / _number(b),
    "%": lambda a, b: _number(a) % _number(b),
}


def _tonumber(value: Value, *_: Value) -> list[Value]:
    try:
        return [_number(value)]
    except LuaError:
        return [None]


def _unpack(table: Table, first: int = 1, last: int | None = None) -> list[Value]:
    return [table.entries.get(index) for index in range(first, (table.length() if last is None else last) + 1)]


def _insert(table: Table, *where_and_value: Value) -> list[Value]:
    *where, value = where_and_value
    values = table.array()
    values.insert(where[0] - 1 if where else len(values), value)
    table.entries = dict(enumerate(values, 1))
    return []


def _sub(text: bytes, first: int, last: int = -1) -> list[Value]:
    size = len(text)
    begin = first - 1 if first > 0 else max(0, size + first)
    end = last if last >= 0 else size + last + 1
    return [text[begin:end]]


def _library(**functions: Callable[..., list[Value]]) -> Table:
    table = Table()
    table.entries = {name.encode(): function for name, function in functions.items()}
    return table


_LIBRARY: Final[dict[str, Value]] = {
    "unpack": _unpack,
    "tonumber": _tonumber,
    "tostring": lambda value: [_text(value)],
    "ipairs": lambda table: [list(enumerate(table.array(), 1))],
    "pairs": lambda table: [list(table.entries.items())],
    "table": _library(insert=_insert, unpack=_unpack),
    "string": _library(sub=_sub),
}
