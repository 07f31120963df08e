from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.api import quantity

MAX = Decimal(2**63 - 1)


@pytest.mark.parametrize(
    ("text", "value", "form"),
    [
        ("0", "0", "DecimalSI"), ("0Ki", "0", "BinarySI"), ("8Ki", 8 * 1024, "BinarySI"),
        ("3Ei", 3 * 2**60, "BinarySI"), ("5n", "5e-9", "DecimalSI"), ("50k", "50000", "DecimalSI"),
        ("1E-3", "0.001", "DecimalExponent"), ("1E", "1e18", "DecimalSI"), ("1.3E+6", "1300000", "DecimalExponent"),
        ("100.035Ki", "102435.84", "BinarySI"), ("0.025Ti", "27487790694.4", "BinarySI"),
        ("3.001n", "4e-9", "DecimalSI"), ("0.5e-9", "1e-9", "DecimalExponent"),
        ("0.00000012345", "124e-9", "DecimalSI"), ("0.000000000001Ki", "2e-9", "DecimalSI"), ("9Ei", MAX, "BinarySI"),
        ("-9223372036854775807Ki", -MAX, "BinarySI"), (".001", "0.001", "DecimalSI"), ("1.G", "1e9", "DecimalSI"),
        ("-3.01", "-3.01", "DecimalSI"), (1, "1", "DecimalSI"), (1.5, "1.5", "DecimalSI"),
    ],
)
def test_parse(text: quantity.Quantity, value: str, form: str) -> None:
    assert quantity.parse(text) == Decimal(value)
    assert quantity.format_of(text) == form


@pytest.mark.parametrize("text", ["", "1.1.M", "1+1.0M", "0.1mi", "0.1am", "aoeu", ".5i", "1i", "-3.01i", "-3.01e-",
                                  "1 Gi", "1Gi ", "１", "1e99999999999", ".", "-", "1_0", "NaN", "Infinity"])
def test_malformed(text: str) -> None:
    assert not quantity.is_valid(text)
    with pytest.raises(quantity.QuantityError):
        quantity.parse(text)


def test_messages() -> None:
    with pytest.raises(quantity.QuantityError, match="quantities must match the regular expression"):
        quantity.parse("aoeu")
    with pytest.raises(quantity.QuantityError, match="unable to parse quantity's suffix"):
        quantity.parse("1i")
    assert not quantity.is_valid(True)
    assert not quantity.is_valid(None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1024Mi", "1Gi"), ("0.5", "500m"), ("1e3", "1e3"), ("1000M", "1G"), (".001Ki", "1024m"),
        (".000001Ki", "1024u"), (".000000000001Ki", "2n"), ("1.5Gi", "1536Mi"), ("307200Ki", "300Mi"), ("00", "0"),
        ("0Mi", "0"), ("1000", "1k"), ("1025", "1025"), ("512Ki", "512Ki"), (".001e12", "1e9"), ("0.001e0", "1e-3"),
        ("1000e-12", "1e-9"), ("0.001T", "1G"), ("1080000000n", "1080m"), ("1.08", "1080m"), ("1.234", "1.234"),
        ("1E3", "1E3"), ("2Ki", "2Ki"), ("8192Ki", "8Mi"), (2, "2"), (0.1, "100m"), ("-1.5", "-1500m"),
        ("12E", "12E"), ("1Pi", "1Pi"), ("1024Pi", "1Ei"), ("9Ei", "9223372036854775807"),
    ],
)
def test_canonical(text: quantity.Quantity, expected: str) -> None:
    assert quantity.canonical(text) == expected


def test_rounding() -> None:
    assert quantity.milli("0.1m") == 1
    assert quantity.milli("1500u") == 2
    assert quantity.milli("-1500u") == -2
    assert quantity.milli("2") == 2000
    assert quantity.value("1.1") == 2
    assert quantity.value("-1.1") == -2
    assert quantity.value("1Ki") == 1024
    assert quantity.value("1e500") == 2**63 - 1
    assert quantity.milli("9" * 500 + "e12") == 2**63 - 1


def test_billionths_are_exact() -> None:
    assert quantity.nano("100m") == 10**8
    assert quantity.nano("1Ki") == 1024 * 10**9
    assert quantity.nano("0.3n") == 1


def test_sums() -> None:
    assert quantity.add("1Gi", "512Mi") == "1536Mi"
    assert quantity.add("0", "1Mi") == "1Mi"
    assert quantity.add("100m", "900m") == "1"
    assert quantity.subtract("1", "100m") == "900m"
    assert quantity.from_milli(1500) == "1500m"
    assert quantity.from_milli(2000) == "2"
    assert quantity.from_value(2**30, "BinarySI") == "1Gi"
    assert quantity.from_value(500, "BinarySI") == "500"
    assert quantity.from_value(1000, "BinarySI") == "1k"
    assert quantity.compare("1024Mi", "1Gi") == 0
    assert quantity.compare("100m", "0.2") == -1


@given(st.integers(-(2**62), 2**62), st.sampled_from(["n", "u", "m", "", "k", "Ki", "Mi", "e-3", "e2"]))
def test_canonical_keeps_the_value_and_is_stable(number: int, suffix: str) -> None:
    text = f"{number}{suffix}"
    once = quantity.canonical(text)
    assert quantity.parse(once) == quantity.parse(text)
    assert quantity.canonical(once) == once


@given(st.text(alphabet="0123456789.+-eEinumkKMGTP ", max_size=14))
def test_any_text_parses_or_is_refused(text: str) -> None:
    if quantity.is_valid(text):
        quantity.milli(text)
        assert quantity.is_valid(quantity.canonical(text))
