"""``resource.Quantity``: exact numbers with a suffix, such as "500m", "1.5Gi" or "12e3".

Values are :class:`decimal.Decimal` and exact to a billionth (nano); what is finer is rounded up, away from zero. A
quantity remembers the family of its suffix (the ``format``) and is written with the largest suffix of that family that
leaves no fraction ("canonical form"), as the Kubernetes API conventions and the reference page "Quantity" say.
"""

from __future__ import annotations

import functools
import re
from decimal import ROUND_UP, Context, Decimal

BINARY_SI = "BinarySI"
DECIMAL_SI = "DecimalSI"
DECIMAL_EXPONENT = "DecimalExponent"

PATTERN = "^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"
"""The regular expression that upstream's error message names."""

FORMAT_ERROR = f"quantities must match the regular expression '{PATTERN}'"
NUMERIC_ERROR = "unable to parse numeric part of quantity"
SUFFIX_ERROR = "unable to parse quantity's suffix"

MAX = Decimal(2**63 - 1)
"""The largest value of a quantity with a binary suffix; larger ones are capped."""

_SHAPE = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*[-+]?[0-9]*)", re.ASCII)
_EXPONENT = re.compile(r"[eE]([-+]?[0-9]+)", re.ASCII)
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY_SUFFIX = {power: suffix for suffix, power in _BINARY.items()} | {0: ""}
_DECIMAL_SUFFIX = {power: suffix for suffix, power in _DECIMAL.items()}
_INT64 = 2**63 - 1
_LONGEST = 512
_EXACT = Context(prec=2000, rounding=ROUND_UP, Emin=-(10**6), Emax=10**6)
_NANO = Decimal("1e-9")
_MILLI = Decimal("1e-3")
_ONE = Decimal(1)
_ZERO = Decimal(0)

Quantity = str | int | float


class QuantityError(ValueError):
    """The text is no quantity. The message is upstream's."""


@functools.lru_cache(maxsize=8192)
def _parsed(text: str) -> tuple[Decimal, str]:
    shape = _SHAPE.fullmatch(text) if text and len(text) <= _LONGEST else None
    if shape is None:
        raise QuantityError(FORMAT_ERROR)
    sign, whole, fraction, suffix = shape.groups()
    if not whole and not fraction:
        raise QuantityError(FORMAT_ERROR if not text.startswith(("+", "-", ".")) else NUMERIC_ERROR)
    number = Decimal(f"{whole or '0'}.{fraction or '0'}")
    if suffix in _DECIMAL:
        power, form = _DECIMAL[suffix], DECIMAL_SI
        value = number.scaleb(power, _EXACT)
    elif suffix in _BINARY:
        form = BINARY_SI
        value = _EXACT.multiply(number, Decimal(1 << _BINARY[suffix]))
    elif exponent := _EXPONENT.fullmatch(suffix):
        form = DECIMAL_EXPONENT
        power = int(exponent.group(1)) if len(exponent.group(1)) < 8 else 10**9
        if not -(2**31) <= power < 2**31 or power > _LONGEST:
            raise QuantityError(SUFFIX_ERROR)
        value = number.scaleb(max(power, -_LONGEST), _EXACT)
    else:
        raise QuantityError(SUFFIX_ERROR)
    value = _EXACT.quantize(value, _NANO) if value.as_tuple().exponent < -9 else value  # type: ignore[operator]
    if form == BINARY_SI:
        value = min(value, MAX)
        if 0 < value < 1:
            form = DECIMAL_SI
    if sign == "-":
        value = -value
    return (value if value else _ZERO), form


def _text(quantity: Quantity) -> str:
    if isinstance(quantity, str):
        return quantity
    if isinstance(quantity, bool):
        raise QuantityError(FORMAT_ERROR)
    if isinstance(quantity, float):
        text = repr(quantity)
        return text.removesuffix(".0")
    return str(quantity)


def parse(quantity: Quantity) -> Decimal:
    """The exact value.

    Raises:
        QuantityError: it is no quantity.
    """
    return _parsed(_text(quantity))[0]


def format_of(quantity: Quantity) -> str:
    """The family of the suffix: BINARY_SI, DECIMAL_SI or DECIMAL_EXPONENT.

    Raises:
        QuantityError: it is no quantity.
    """
    return _parsed(_text(quantity))[1]


def is_valid(quantity: object) -> bool:
    if not isinstance(quantity, str | int | float):
        return False
    try:
        parse(quantity)
    except QuantityError:
        return False
    return True


@functools.lru_cache(maxsize=8192)
def _milli(text: str) -> int:
    return _int64(_EXACT.scaleb(_parsed(text)[0], 3))


@functools.lru_cache(maxsize=8192)
def _value(text: str) -> int:
    return _int64(_parsed(text)[0])


def _int64(number: Decimal) -> int:
    return max(-_INT64, min(_INT64, int(_EXACT.quantize(number, _ONE))))


def milli(quantity: Quantity) -> int:
    """The value in thousandths (milli-CPUs), rounded up, away from zero, and held within int64.

    Raises:
        QuantityError: it is no quantity.
    """
    return _milli(_text(quantity))


def value(quantity: Quantity) -> int:
    """The value in whole units (bytes, cores), rounded up, away from zero, and held within int64.

    Raises:
        QuantityError: it is no quantity.
    """
    return _value(_text(quantity))


@functools.lru_cache(maxsize=8192)
def _nano(text: str) -> int:
    return int(_EXACT.scaleb(_parsed(text)[0], 9))


def nano(quantity: Quantity) -> int:
    """The value in billionths, exact: sums of these lose nothing and are as cheap as integers.

    Raises:
        QuantityError: it is no quantity.
    """
    return _nano(_text(quantity))


@functools.lru_cache(maxsize=8192)
def _canonical(text: str) -> str:
    number, form = _parsed(text)
    return text if _written_back(text, form) else format(number, form)


def _written_back(text: str, form: str) -> bool:
    """Whether upstream remembers the text as it came: its fast path does, for short numbers whose power of ten is a
    multiple of three ("1.234", "1E3", "+5"), canonical or not."""
    shape = _SHAPE.fullmatch(text)
    assert shape is not None
    _, whole, fraction, suffix = shape.groups()
    digits = (whole.lstrip("0") or "0") + (fraction or "")
    if suffix in _BINARY:
        power = _BINARY[suffix]
        return form == BINARY_SI and not fraction and len(digits) <= 14 - power * 3 // 10 and int(digits) % 8 != 0
    power = _DECIMAL[suffix] if suffix in _DECIMAL else int(suffix[1:])
    scale = power - len(fraction or "")
    return (len(digits) <= 18 and scale >= -9 and scale % 3 == 0 and digits[0] != "0" and not digits.endswith("000"))


def canonical(quantity: Quantity) -> str:
    """The form in which the API server answers this quantity: "1024Mi" is "1Gi", "0.5" is "500m", "1000" is "1k".

    Raises:
        QuantityError: it is no quantity.
    """
    return _canonical(_text(quantity))


def format(number: Decimal | int, form: str = DECIMAL_SI) -> str:
    """A value written in canonical form with the suffixes of `form`. A binary form falls back to the decimal one for
    values between -1024 and 1024 and for fractions, as upstream's does."""
    number = Decimal(number)
    if not number:
        return "0"
    if form == BINARY_SI and not -1024 < number < 1024 and number == _EXACT.to_integral_value(number):
        whole, power = int(number), 0
        while whole % 1024 == 0 and power < 60:
            whole //= 1024
            power += 10
        return f"{whole}{_BINARY_SUFFIX[power]}"
    return _decimal(number, form)


def _decimal(number: Decimal, form: str) -> str:
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    mantissa = int("".join(map(str, digits)))
    while mantissa % 10 == 0:
        mantissa //= 10
        exponent += 1
    shift = exponent % 3
    mantissa *= 10**shift
    exponent -= shift
    minus = "-" if sign else ""
    if form == DECIMAL_EXPONENT:
        return f"{minus}{mantissa}e{exponent}" if exponent else f"{minus}{mantissa}"
    if exponent > 18:
        mantissa *= 10 ** (exponent - 18)
        exponent = 18
    return f"{minus}{mantissa}{_DECIMAL_SUFFIX[exponent]}"


def from_milli(number: int, form: str = DECIMAL_SI) -> str:
    """The canonical text of a number of thousandths."""
    return format(_EXACT.multiply(Decimal(number), _MILLI), form)


def from_value(number: int, form: str = DECIMAL_SI) -> str:
    """The canonical text of a whole number."""
    return format(Decimal(number), form)


def add(first: Quantity, second: Quantity) -> str:
    """The sum, in the format of the first (of the second, if the first is zero), as upstream's Add.

    Raises:
        QuantityError: one of them is no quantity.
    """
    left, form = _parsed(_text(first))
    right, other = _parsed(_text(second))
    return format(_EXACT.add(left, right), form if left else other)


def subtract(first: Quantity, second: Quantity) -> str:
    """The difference, in the format of the first (of the second, if the first is zero), as upstream's Sub.

    Raises:
        QuantityError: one of them is no quantity.
    """
    left, form = _parsed(_text(first))
    right, other = _parsed(_text(second))
    return format(_EXACT.subtract(left, right), form if left else other)


def compare(first: Quantity, second: Quantity) -> int:
    """-1, 0 or 1, as the first is less than, equal to or greater than the second.

    Raises:
        QuantityError: one of them is no quantity.
    """
    left, right = parse(first), parse(second)
    return (left > right) - (left < right)
