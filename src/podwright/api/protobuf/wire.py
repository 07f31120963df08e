"""Protocol buffers' wire format, as much of it as a table-driven codec needs."""

from __future__ import annotations

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_MASK = (1 << 64) - 1


class Malformed(ValueError):
    """Bytes that are no protocol buffer."""


def varint(value: int) -> bytes:
    """A negative number takes ten bytes, as its 64-bit two's complement."""
    if 0 <= value < 128:
        return _SMALL[value]
    value &= _MASK
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


_SMALL = [bytes((i,)) for i in range(128)]


def key(number: int, wire_type: int) -> bytes:
    return varint(number << 3 | wire_type)


def read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """(unsigned value, position after it)."""
    if at < end and data[at] < 128:
        return data[at], at + 1
    value = shift = 0
    while at < end:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & _MASK, at
        shift += 7
        if shift > 63:
            raise Malformed("varint too long")
    raise Malformed("unexpected EOF")


def signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def skip(data: bytes, at: int, end: int, wire_type: int) -> int:
    """The position after a field of a type that is not known."""
    if wire_type == VARINT:
        return read_varint(data, at, end)[1]
    if wire_type == BYTES:
        length, at = read_varint(data, at, end)
        at += length
    elif wire_type == FIXED64:
        at += 8
    elif wire_type == FIXED32:
        at += 4
    else:
        raise Malformed(f"illegal wireType {wire_type}")
    if at > end:
        raise Malformed("unexpected EOF")
    return at
