"""Signals by the names that images and Pods give them."""

from __future__ import annotations

import re
import signal

from podwright.runtime.protocol import RuntimeFailure


def signal_number(name: str) -> int:
    """Of "SIGTERM", "TERM", "15" or "SIGRTMIN+3". Raises RuntimeFailure."""
    text = name.strip().upper()
    if text.isdigit() and 0 < int(text) <= 64:
        return int(text)
    text = text if text.startswith("SIG") else f"SIG{text}"
    found = re.fullmatch(r"SIGRT(MIN|MAX)(?:([+-])(\d+))?", text)
    if found:
        base = signal.SIGRTMIN if found[1] == "MIN" else signal.SIGRTMAX
        offset = int(found[3] or 0)
        return int(base) + (offset if found[2] != "-" else -offset)
    try:
        return int(signal.Signals[text])
    except KeyError:
        raise RuntimeFailure(f'unknown signal "{name}"', "CreateContainerError") from None
