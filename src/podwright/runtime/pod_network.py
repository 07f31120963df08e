"""How a sandbox gets its network: implemented by :mod:`podwright.network`, injected by the assembly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from podwright.runtime.protocol import PortMapping, SandboxMetadata


class PodNetwork(Protocol):
    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def setup(
        self, sandbox_id: str, netns: str, metadata: SandboxMetadata, port_mappings: Sequence[PortMapping]
    ) -> Sequence[str]:
        """Connects the network namespace at path `netns` and gives the Pod's IPs. Idempotent for the same
        sandbox."""

    async def teardown(self, sandbox_id: str, netns: str) -> None:
        """Idempotent; `netns` may be gone."""

    async def retain(self, sandbox_ids: Sequence[str]) -> None:
        """Gives back what belongs to any other sandbox (after a crash)."""

    async def destroy(self) -> None:
        """Gives back everything, also what belongs to no sandbox: the node is being taken down for good."""
