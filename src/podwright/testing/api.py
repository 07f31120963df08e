"""An API server inside the test's process: in memory, over real HTTPS, without root, on an event loop and thread of its
own, so that plain and asyncio tests use it alike."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from podwright.api import objects
from podwright.api.resources import NODES, SERVICEACCOUNTS, Resource
from podwright.apiserver.config import ApiServerConfig
from podwright.apiserver.server import ApiServer
from podwright.client import kubeconfig as reading
from podwright.client.client import Client
from podwright.client.transport import InProcessTransport
from podwright.cluster import components, kubeconfig, roles
from podwright.cluster.loop import Stopped, until
from podwright.cluster.pki import Pki
from podwright.testing.kubectl import Kubectl

if TYPE_CHECKING:
    from podwright.controllers.config import ControllerConfig

_T = TypeVar("_T")
_START_SECONDS = 30.0
_STOP_SECONDS = 15.0
_SHUTDOWN_SECONDS = 0.2
_ADMIN = ("kubernetes-admin", ("system:masters",))
_NO_CONTROLLERS = ("ServiceAccount",)
"""Admission that waits for what a controller makes; envtest, which has no controllers either, turns it off too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`controllers` and `scheduler` run beside the API server; `simulated_nodes` many nodes take Pods and report them
    Running without containers. Without controllers a Pod needs no ServiceAccount, and nothing is made, collected or
    finalized by itself: what a test wrote is what it reads."""

    controllers: bool = False
    scheduler: bool = False
    simulated_nodes: int = 0


class LocalApi(Kubectl):
    """A running API server. `url` and `kubeconfig` (the admin's) serve any client; :attr:`client` is an in-process
    one, whose calls a plain test hands to :meth:`run`; an asyncio test makes its own by :meth:`new_client`."""

    def __init__(self, directory: Path, options: Options) -> None:
        super().__init__(directory / "kubeconfig")
        self._options = options
        self._pki = Pki(directory / "pki")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._main, name="podwright api server", daemon=True)
        self.server: ApiServer
        self.url = ""

    @property
    def client(self) -> Client:
        """The admin's client on the API server's own event loop: see :meth:`run`."""
        return self.client_of(*_ADMIN)

    def client_of(self, user: str, groups: Sequence[str] = ()) -> Client:
        """An in-process client that is somebody else: authorization and admission run as for anybody."""
        return Client(InProcessTransport(self.server.local, user, groups))

    def new_client(self) -> Client:
        """The admin's client over HTTPS, for the caller's event loop; to be closed by ``await client.aclose()``."""
        return Client(reading.load(self.kubeconfig).transport("podwright-testing"))

    def run(self, call: Coroutine[Any, Any, _T], timeout: float = 30.0) -> _T:
        """Runs a coroutine on the API server's event loop and gives its result. Raises what it raises, and
        TimeoutError after `timeout` seconds."""
        assert self._loop is not None
        future = asyncio.run_coroutine_threadsafe(call, self._loop)
        try:
            return future.result(timeout)
        except TimeoutError:
            future.cancel()
            raise

    def start(self) -> None:
        """Returns once it serves, with everything that was asked for. Raises what made it fail."""
        self._thread.start()
        if not self._started.wait(_START_SECONDS):
            raise TimeoutError(f"the API server did not start within {_START_SECONDS:.0f} s")
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Raises what made it, or a component beside it, fail while it ran."""
        if self._loop is not None and self._stop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_STOP_SECONDS)
        if self._thread.is_alive():
            raise TimeoutError(f"the API server did not stop within {_STOP_SECONDS:.0f} s")
        if self._failure is not None:
            raise self._failure

    def _main(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as failed:
            self._failure = failed
        finally:
            self._started.set()

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self.server = ApiServer(self._config())
        await self.server.start()
        try:
            async with asyncio.TaskGroup() as group:
                self.url = f"https://127.0.0.1:{self.server.port}"
                admin = self._pki.client("admin", *_ADMIN)
                kubeconfig.write(
                    self.kubeconfig, kubeconfig.document("podwright-test", self.url, self._pki.ca.certificate, admin)
                )
                await self._start_components(group)
                self._started.set()
                await until(self._stop)
        except* Stopped:
            pass
        finally:
            await self.server.stop()

    async def _start_components(self, group: asyncio.TaskGroup) -> None:
        options = self._options
        if options.scheduler:
            self.server.component_statuses.here.add("scheduler")
            group.create_task(components.scheduler(self.client_of).run(), name="scheduler")
        if options.controllers:
            self.server.component_statuses.here.add("controller-manager")
            made = components.run_controllers(self.client_of, self._controller_config(), election=None)
            group.create_task(made, name="controllers")
        if options.simulated_nodes:
            from podwright.kubelet.simulated.simulator import Simulator

            await roles.ensure(self.server, roles.SIMULATOR_USER)
            simulator = Simulator(self.client_of(roles.SIMULATOR_USER), options.simulated_nodes)
            group.create_task(simulator.run(), name="simulated nodes")
            await self._open_nodes(options.simulated_nodes)
            await simulator.ready()
        if options.controllers:
            # Admission refuses Pods before it is there.
            await self._first(SERVICEACCOUNTS, namespace="default", field_selector="metadata.name=default")

    async def _open_nodes(self, count: int) -> None:
        """Takes off the taint that keeps Pods from simulated nodes: here there are no others."""
        async with aclosing(self.client.watch(NODES)) as events:  # type: ignore[type-var]
            seen = set()
            async for _, node in events:
                if objects.name(node) not in seen:
                    seen.add(objects.name(node))
                    await self.client.patch(NODES, objects.name(node), {"spec": {"taints": None}})
                    if len(seen) == count:
                        return

    async def _first(self, resource: Resource, **which: str) -> None:
        async with aclosing(self.client.watch(resource, **which)) as events:  # type: ignore[type-var, arg-type]
            async for _ in events:
                return

    def _config(self) -> ApiServerConfig:
        self._pki.ensure_ca()
        pair = self._pki.server("apiserver", "kube-apiserver", ["localhost", "127.0.0.1", "kubernetes.default.svc"])
        return ApiServerConfig(
            store_url="memory://",
            certificate=pair.certificate,
            key=pair.key,
            client_ca=self._pki.ca.certificate,
            host="127.0.0.1",
            port=0,
            service_account_signing_key=self._pki.ensure_service_account_key(),
            disabled_admission_plugins=() if self._options.controllers else _NO_CONTROLLERS,
            shutdown_seconds=_SHUTDOWN_SECONDS,
        )

    def _controller_config(self) -> ControllerConfig:
        from podwright.controllers.config import ControllerConfig

        return ControllerConfig(
            root_ca=self._pki.ca.certificate.read_text(),
            signing_ca_certificate=self._pki.ca.certificate,
            signing_ca_key=self._pki.ca.key,
        )


@contextmanager
def api_server(
    *, controllers: bool = False, scheduler: bool = False, simulated_nodes: int = 0
) -> Iterator[LocalApi]:
    """A running API server, see :class:`Options`. What fails beside the requests fails the block."""
    options = Options(controllers=controllers, scheduler=scheduler, simulated_nodes=simulated_nodes)
    with tempfile.TemporaryDirectory(prefix="podwright-api-") as directory:
        api = LocalApi(Path(directory), options)
        try:
            api.start()
            yield api
        finally:
            api.stop()
