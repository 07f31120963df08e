"""Numbers that are given out once: cluster IPs and node ports."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

_TRIES = 128
_STATIC_MIN, _STATIC_MAX, _STATIC_SHARE = 16, 256, 16


def static_share(size: int) -> int:
    """The lower part of a range is kept for numbers that people choose (KEP-3070, KEP-3668)."""
    return 0 if size < _STATIC_MIN else min(max(_STATIC_MIN, size // _STATIC_SHARE), _STATIC_MAX)


class Uses:
    """`taken` is what stored objects use, and how many of them; `promised` is on its way to the store."""

    def __init__(self) -> None:
        self.taken: dict[int, int] = {}
        self.promised: set[int] = set()

    def is_free(self, number: int) -> bool:
        return number not in self.taken and number not in self.promised

    def promise(self, number: int) -> Callable[[], None]:
        self.promised.add(number)
        return lambda: self.promised.discard(number)

    def use(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self.taken[number] = self.taken.get(number, 0) + 1
            self.promised.discard(number)

    def release(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            count = self.taken.get(number, 0) - 1
            if count > 0:
                self.taken[number] = count
            else:
                self.taken.pop(number, None)


class Pool:
    """A range of numbers, its dynamic part from `dynamic_from` on. Ranges that overlap share their uses."""

    def __init__(self, first: int, last: int, dynamic_from: int, uses: Uses) -> None:
        self.first, self.last, self.dynamic_from = first, last, dynamic_from
        self.uses = uses

    def contains(self, number: int) -> bool:
        return self.first <= number <= self.last

    def pick(self) -> int | None:
        """A free number, of the dynamic part first; None if all are taken."""
        for low, high in ((self.dynamic_from, self.last), (self.first, self.dynamic_from - 1)):
            if high < low:
                continue
            for _ in range(_TRIES):
                number = random.randint(low, high)
                if self.uses.is_free(number):
                    return number
            for number in range(low, high + 1):
                if self.uses.is_free(number):
                    return number
        return None
