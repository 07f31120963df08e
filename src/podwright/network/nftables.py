"""Transactions for the kernel's nftables, given to ``nft``."""

from __future__ import annotations

import asyncio

_TIMEOUT = 30.0


class RulesRefused(Exception):
    """nft did not take the rules; the message is its own."""


async def load_rules(rules: str) -> None:
    """All of the transaction or nothing of it. Raises RulesRefused."""
    process = await asyncio.create_subprocess_exec(
        "nft", "-f", "-",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(_TIMEOUT):
        _, errors = await process.communicate(rules.encode())
    if process.returncode:
        raise RulesRefused(errors.decode(errors="replace").strip()[:2000])


async def remove_table(table: str) -> None:
    """Takes an IPv4 table out of the kernel. Idempotent."""
    await load_rules(f"table ip {table} {{}}\ndelete table ip {table}\n")
