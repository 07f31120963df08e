"""CEL's grammar: text to syntax tree (the CEL specification, "Syntax", with optional syntax ``.?``, ``[?]``).

Macros are not expanded here; the evaluator and the checker know them by name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from podwright.api.cel.errors import CompileError

MAX_DEPTH = 48
RESERVED = frozenset(
    {
        "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package",
        "namespace", "return", "var", "void", "while",
    }
)


@dataclass(frozen=True, slots=True)
class Node:
    """One expression; `at` is its place in the source, for messages."""

    at: int


@dataclass(frozen=True, slots=True)
class Literal(Node):
    value: Any


@dataclass(frozen=True, slots=True)
class Ident(Node):
    name: str


@dataclass(frozen=True, slots=True)
class Select(Node):
    of: Node
    field: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Index(Node):
    of: Node
    key: Node
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Call(Node):
    """A function, or with `target` a method. Operators are calls of ``_+_`` and their like."""

    name: str
    target: Node | None
    args: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class MakeList(Node):
    items: tuple[tuple[Node, bool], ...]


@dataclass(frozen=True, slots=True)
class MakeMap(Node):
    entries: tuple[tuple[Node, Node, bool], ...]


@dataclass(frozen=True, slots=True)
class MakeObject(Node):
    type_name: str
    fields: tuple[tuple[str, Node, bool], ...]


ONE_VARIABLE = frozenset({"all", "exists", "exists_one", "existsOne", "map", "filter"})
TWO_VARIABLES = frozenset(
    {"all", "exists", "exists_one", "existsOne", "transformList", "transformMap", "transformMapEntry"}
)


def variables_of(node: Call) -> tuple[str, ...]:
    """The names that a macro binds; () if the call is no macro."""
    args = node.args
    if len(args) < 2 or not isinstance(first := args[0], Ident):
        return ()
    if node.name in ("optMap", "optFlatMap") and len(args) == 2:
        return (first.name,)
    if node.name in TWO_VARIABLES and 3 <= len(args) <= (4 if node.name.startswith("transform") else 3):
        second = args[1]
        if isinstance(second, Ident) and second.name != first.name:
            return first.name, second.name
    if node.name in ONE_VARIABLE and len(args) <= (3 if node.name == "map" else 2):
        return (first.name,)
    return ()


class UInt(int):
    """An unsigned integer."""

    __slots__ = ()


_TOKEN = re.compile(
    r"""
    (?P<space>(?:\s|//[^\n]*)+)
  | (?P<float>(?:\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?))
  | (?P<int>(?:0[xX][0-9a-fA-F]+|\d+))(?P<unsigned>[uU]?)
  | (?P<string>(?:[rR][bB]?|[bB][rR]?)?(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''
        |\"(?:\\.|[^\\\"\n])*\"|'(?:\\.|[^\\'\n])*'))
  | (?P<quoted_ident>`[A-Za-z0-9_.\-/ ]+`)
  | (?P<ident>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<op>&&|\|\||<=|>=|==|!=|[-+*/%!<>?:.,()\[\]{}])
    """,
    re.VERBOSE | re.DOTALL,
)
_RAW = re.compile(r"""(?:[rR][bB]?|[bB][rR])(?:\"\"\".*?\"\"\"|'''.*?'''|\"[^\"\n]*\"|'[^'\n]*')""", re.DOTALL)
_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\?\"'`])|([0-3][0-7]{2})|[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL
)
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def _tokens(source: str) -> list[_Token]:
    found, at = [], 0
    while at < len(source):
        raw = _RAW.match(source, at) if source[at] in "rRbB" else None
        match = raw or _TOKEN.match(source, at)
        if match is None or (raw is not None and "r" not in raw.group()[:2].lower()):
            match = _TOKEN.match(source, at)
        if match is None:
            raise CompileError(source, at, f"Syntax error: token recognition error at: '{source[at]}'")
        kind = "string" if match.re is _RAW else str(match.lastgroup)
        if kind == "unsigned":
            kind = "uint" if match.group("unsigned") else "int"
        if kind != "space":
            found.append(_Token(kind, match.group(), at))
        at = match.end()
    found.append(_Token("end", "", len(source)))
    return found


def _unquote(token: _Token, source: str) -> Any:
    text = token.text
    prefix = ""
    while text[0] not in "\"'":
        prefix, text = prefix + text[0].lower(), text[1:]
    width = 3 if text[:3] in ('"""', "'''") else 1
    body = text[width:-width]
    is_bytes = "b" in prefix
    if "r" in prefix:
        return body.encode() if is_bytes else body
    out = bytearray()
    last = 0
    for match in _ESCAPE.finditer(body):
        out += body[last : match.start()].encode("utf-8", "surrogatepass")
        simple, octal, hexadecimal, short, long, bad = match.groups()
        if bad is not None:
            raise CompileError(source, token.at, f"Syntax error: invalid escape sequence '\\{bad}'")
        if simple is not None:
            out += _SIMPLE.get(simple, simple).encode()
        else:
            number = int(octal, 8) if octal else int(hexadecimal or short or long, 16)
            if is_bytes and (octal or hexadecimal):
                out.append(number)
            elif number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
                raise CompileError(source, token.at, "Syntax error: invalid unicode code point")
            else:
                out += chr(number).encode()
        last = match.end()
    out += body[last:].encode("utf-8", "surrogatepass")
    return bytes(out) if is_bytes else out.decode("utf-8", "replace")


_BINARY = (
    ({"||": "_||_"}),
    ({"&&": "_&&_"}),
    ({"<": "_<_", "<=": "_<=_", ">": "_>_", ">=": "_>=_", "==": "_==_", "!=": "_!=_", "in": "@in"}),
    ({"+": "_+_", "-": "_-_"}),
    ({"*": "_*_", "/": "_/_", "%": "_%_"}),
)


class _Parser:
    def __init__(self, source: str) -> None:
        self.source = source
        self.tokens = _tokens(source)
        self.position = 0
        self.depth = 0

    @property
    def token(self) -> _Token:
        return self.tokens[self.position]

    def fail(self, token: _Token, wanted: str = "") -> CompileError:
        what = "'<EOF>'" if token.kind == "end" else f"'{token.text}'"
        if wanted:
            return CompileError(self.source, token.at, f"Syntax error: mismatched input {what} expecting {wanted}")
        return CompileError(self.source, token.at, f"Syntax error: unexpected input {what}")

    def take(self, text: str) -> bool:
        token = self.token
        if token.text == text and token.kind in ("op", "ident"):
            self.position += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.take(text):
            raise self.fail(self.token, f"'{text}'")

    def expression(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise CompileError(self.source, self.token.at, "expression recursion limit exceeded")
        condition = self.binary(0)
        if self.token.text == "?" and self.token.kind == "op":
            at = self.token.at
            self.position += 1
            then = self.binary(0)
            self.expect(":")
            condition = Call(at, "_?_:_", None, (condition, then, self.expression()))
        self.depth -= 1
        return condition

    def binary(self, level: int) -> Node:
        if level == len(_BINARY):
            return self.unary()
        left = self.binary(level + 1)
        while self.token.kind in ("op", "ident") and (name := _BINARY[level].get(self.token.text)):
            at = self.token.at
            self.position += 1
            left = Call(at, name, None, (left, self.binary(level + 1)))
        return left

    def unary(self) -> Node:
        token = self.token
        if token.kind == "op" and token.text in ("!", "-"):
            count = 0
            while self.token.kind == "op" and self.token.text == token.text:
                self.position += 1
                count += 1
            if token.text == "-" and self.token.kind in ("int", "float"):
                number = self.member(negative=True)
                if count % 2 == 0:
                    return Call(token.at, "-_", None, (number,))
                return number
            inner = self.member()
            return Call(token.at, "!_" if token.text == "!" else "-_", None, (inner,)) if count % 2 else inner
        return self.member()

    def member(self, negative: bool = False) -> Node:
        node = self.primary(negative)
        while True:
            token = self.token
            if self.take("."):
                optional = self.take("?")
                name = self.token
                if name.kind not in ("ident", "quoted_ident") or name.text in ("in", "true", "false", "null"):
                    raise self.fail(name, "IDENTIFIER")
                self.position += 1
                if name.kind == "ident" and not optional and self.token.text == "(":
                    node = Call(self.token.at, name.text, node, self.arguments())
                else:
                    node = Select(token.at, node, name.text.strip("`"), optional)
            elif self.token.text == "[" and self.token.kind == "op":
                self.position += 1
                optional = self.take("?")
                key = self.expression()
                self.expect("]")
                node = Index(token.at, node, key, optional)
            elif self.token.text == "{" and self.token.kind == "op" and (type_name := _type_name(node)):
                node = self.object(type_name, token.at)
            else:
                return node

    def arguments(self) -> tuple[Node, ...]:
        self.expect("(")
        found: list[Node] = []
        while not self.take(")"):
            if found:
                self.expect(",")
            found.append(self.expression())
        return tuple(found)

    def object(self, type_name: str, at: int) -> Node:
        self.expect("{")
        fields: list[tuple[str, Node, bool]] = []
        while not self.take("}"):
            if fields:
                self.expect(",")
                if self.take("}"):
                    break
            optional = self.take("?")
            name = self.token
            if name.kind not in ("ident", "quoted_ident"):
                raise self.fail(name, "IDENTIFIER")
            self.position += 1
            self.expect(":")
            fields.append((name.text.strip("`"), self.expression(), optional))
        return MakeObject(at, type_name, tuple(fields))

    def primary(self, negative: bool = False) -> Node:
        token = self.token
        self.position += 1
        if token.kind == "int":
            number = int(token.text, 0) if token.text[:2].lower() == "0x" else int(token.text)
            number = -number if negative else number
            if not -(2**63) <= number < 2**63:
                raise CompileError(self.source, token.at, "Syntax error: invalid int literal")
            return Literal(token.at, number)
        if token.kind == "uint":
            digits = token.text[:-1]
            number = int(digits, 0) if digits[:2].lower() == "0x" else int(digits)
            if number >= 2**64:
                raise CompileError(self.source, token.at, "Syntax error: invalid uint literal")
            return Literal(token.at, UInt(number))
        if token.kind == "float":
            return Literal(token.at, -float(token.text) if negative else float(token.text))
        if token.kind == "string":
            return Literal(token.at, _unquote(token, self.source))
        if token.kind == "ident":
            return self.identifier(token)
        if token.text == "." and self.token.kind == "ident":
            name = self.token
            self.position += 1
            return self.identifier(name)
        if token.text == "(":
            inner = self.expression()
            self.expect(")")
            return inner
        if token.text == "[":
            return self.list(token)
        if token.text == "{":
            return self.map(token)
        self.position -= 1
        raise self.fail(token)

    def identifier(self, token: _Token) -> Node:
        if token.text in ("true", "false"):
            return Literal(token.at, token.text == "true")
        if token.text == "null":
            return Literal(token.at, None)
        if token.text in RESERVED:
            raise CompileError(self.source, token.at, f"reserved identifier: {token.text}")
        if token.text == "in":
            raise self.fail(token)
        if self.token.text == "(" and self.token.kind == "op":
            return Call(self.token.at, token.text, None, self.arguments())
        return Ident(token.at, token.text)

    def list(self, token: _Token) -> Node:
        items: list[tuple[Node, bool]] = []
        while not self.take("]"):
            if items:
                self.expect(",")
                if self.take("]"):
                    break
            optional = self.take("?")
            items.append((self.expression(), optional))
        return MakeList(token.at, tuple(items))

    def map(self, token: _Token) -> Node:
        entries: list[tuple[Node, Node, bool]] = []
        while not self.take("}"):
            if entries:
                self.expect(",")
                if self.take("}"):
                    break
            optional = self.take("?")
            key = self.expression()
            self.expect(":")
            entries.append((key, self.expression(), optional))
        return MakeMap(token.at, tuple(entries))


def _type_name(node: Node) -> str:
    """ "Object.spec" of a chain of plain selections, else ""."""
    if isinstance(node, Ident):
        return node.name
    if isinstance(node, Select) and not node.optional:
        inner = _type_name(node.of)
        return f"{inner}.{node.field}" if inner else ""
    return ""


def parse(source: str) -> Node:
    """Raises CompileError."""
    parser = _Parser(source)
    try:
        node = parser.expression()
    except RecursionError:
        raise CompileError(source, 0, "expression recursion limit exceeded") from None
    if parser.token.kind != "end":
        raise parser.fail(parser.token, "<EOF>")
    return node
