"""Environment files of fileKeyRef (KEP-3721): lines ``NAME='value'``, the value in single quotes and possibly over
several lines; blank lines and lines that begin with # are left out."""

from __future__ import annotations

import re

_ENTRY = re.compile(r"([^\s='#][^='\n]*)='([^']*)'[ \t]*(?:\n|$)")


def parse(text: str) -> dict[str, str]:
    """The variables of an environment file.

    Raises:
        ValueError: a line is of another form.
    """
    found: dict[str, str] = {}
    position = 0
    text = text.replace("\r\n", "\n")
    while position < len(text):
        end = text.find("\n", position)
        line = text[position : end if end >= 0 else len(text)].strip()
        if not line or line.startswith("#"):
            position = end + 1 if end >= 0 else len(text)
            continue
        begin = position + (len(text[position:]) - len(text[position:].lstrip()))
        entry = _ENTRY.match(text, begin)
        if entry is None:
            raise ValueError(f"invalid environment variable format: {line!r}")
        found[entry.group(1)] = entry.group(2)
        position = entry.end()
    return found
