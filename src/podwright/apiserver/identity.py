"""UUIDs for objects and requests. They must differ, not be secret: no system call each."""

from __future__ import annotations

import random

_random = random.Random(int.from_bytes(random.SystemRandom().randbytes(32)))
_VERSION = 0x4000 << 64
_VARIANT = 0x8000 << 48
_CLEAR = ~((0xF000 << 64) | (0xC000 << 48))


def new_uuid() -> str:
    """A random UUID (version 4) in its text form."""
    text = f"{_random.getrandbits(128) & _CLEAR | _VERSION | _VARIANT:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def random_letters(alphabet: str, count: int) -> str:
    return "".join(_random.choices(alphabet, k=count))
