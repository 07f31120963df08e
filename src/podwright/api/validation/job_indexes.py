"""Lists of completion indexes in their short form: "1,3-5,7"."""

from __future__ import annotations

from collections.abc import Iterator


class IndexesError(ValueError):
    """The text is no list of indexes. The message is upstream's."""


def indexes(text: str, completions: int) -> Iterator[tuple[int, int]]:
    """The intervals of the list, both ends included, each checked to lie below `completions` and in order.

    Raises:
        IndexesError: it is none.
    """
    last = -1
    if not text:
        return
    for part in text.split(","):
        ends = part.split("-")
        if len(ends) > 2:
            raise IndexesError(
                f'the fragment "{part}" violates the requirement that an index interval can have at most two parts '
                "separated by '-'"
            )
        first, *second = (_number(end, completions) for end in ends)
        if last >= first:
            raise IndexesError(f"non-increasing order, previous: {last}, current: {first}")
        last = first
        if second:
            if second[0] <= first:
                raise IndexesError(f"non-increasing order, previous: {first}, current: {second[0]}")
            last = second[0]
        yield first, last


def _number(text: str, completions: int) -> int:
    if not (text.isascii() and text.isdigit()):
        raise IndexesError(f'cannot convert string to integer for index: "{text}"')
    if int(text) >= completions:
        raise IndexesError(f'too large index: "{text}"')
    return int(text)


def count_indexes(text: str, completions: int) -> int:
    return sum(end - start + 1 for start, end in indexes(text, completions))


def first_overlap(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> int | None:
    """The lowest index that both lists hold."""
    return min((max(a, c) for a, b in one for c, d in other if max(a, c) <= min(b, d)), default=None)
