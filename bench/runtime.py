"""What a Pod costs in the runtime, beside its floor: the low-level runtime alone, and under conmon.

    python bench/runtime.py [--pods 20] [--runtime auto|crun|runc] [--json FILE]

Needs root. Everything it makes is gone afterwards. Times are milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from podwright.network.routed import RoutedPodNetwork
from podwright.runtime.build.busybox import REFERENCE, build_busybox
from podwright.runtime.images.store import ImageStore
from podwright.runtime.oci import OciRuntime
from podwright.runtime.oci.conmon import launch
from podwright.runtime.oci.launching import start_created
from podwright.runtime.protocol import ContainerConfig, EventType, SandboxConfig, SandboxMetadata


class Bench:
    def __init__(self, runtime: str, pods: int) -> None:
        self.name = f"bench{os.getpid()}"
        self.state, self.run = Path("/var/lib/podwright", self.name), Path("/run/podwright", self.name)
        self.images = ImageStore(self.state / "images", self.state / "references.json")
        network = RoutedPodNetwork(
            cluster=self.name, node="n1", pod_cidr="10.215.0.0/24", cluster_cidr="10.215.0.0/16",
            state_dir=self.state / "network",
        )
        self.runtime = OciRuntime(
            cluster=self.name, node="n1", state_dir=self.state / "n1" / "runtime", run_dir=self.run / "n1",
            images=self.images, network=network, cgroup_root=f"/podwright/{self.name}", runtime=runtime,
        )
        self.pods = pods
        self.times: dict[str, list[float]] = {}

    def note(self, what: str, begun: float) -> float:
        now = time.perf_counter()
        self.times.setdefault(what, []).append(1000 * (now - begun))
        return now

    def sandbox(self, number: int | str) -> SandboxConfig:
        return SandboxConfig(
            SandboxMetadata(f"p{number}", "default", f"uid-{number}"), hostname=f"p{number}",
            log_directory=self.state / "logs" / f"p{number}", cgroup_parent=f"/podwright/{self.name}/pods/p{number}",
        )

    @staticmethod
    def container() -> ContainerConfig:
        return ContainerConfig("c", 0, REFERENCE, command=["sleep", "1000"], log_path="c/0.log")

    async def pod(self, number: int | str) -> tuple[str, str]:
        """One Pod, one at a time."""
        config = self.sandbox(number)
        begun = clock = time.perf_counter()
        sandbox = await self.runtime.run_pod_sandbox(config)
        clock = self.note("sandbox with network", clock)
        container = await self.runtime.create_container(sandbox.id, self.container(), config)
        clock = self.note("create container", clock)
        await self.runtime.start_container(container)
        self.note("start container", clock)
        self.note("pod: all of it", begun)
        return sandbox.id, container

    async def floor(self) -> None:
        """The same bundle, by the low-level runtime alone and then under conmon, without anything of ours."""
        config = self.sandbox("floor")
        sandbox = await self.runtime.run_pod_sandbox(config)
        host = self.runtime.host
        for _ in range(self.pods):
            container = await self.runtime.create_container(sandbox.id, self.container(), config)
            await host.workers.run(self._alone, container)
            await self.runtime.remove_container(container)
            container = await self.runtime.create_container(sandbox.id, self.container(), config)
            await host.workers.run(self._under_conmon, container)
            await self.runtime.remove_container(container)
        await self.runtime.remove_pod_sandbox(sandbox.id)

    def _run(self, *command: str) -> None:
        host = self.runtime.host
        subprocess.run(
            [host.engine.path, "--root", str(host.paths.oci), *command], check=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )

    def _alone(self, container: str) -> None:
        clock = time.perf_counter()
        self._run("create", "--bundle", str(self.runtime.host.paths.bundle(container)), container)
        self._run("start", container)
        self.note("floor: create and start, alone", clock)
        self._run("delete", "--force", container)

    def _under_conmon(self, container: str) -> None:
        host = self.runtime.host
        record = self.runtime._containers.get(container)
        clock = time.perf_counter()
        launch(host.engine, host.paths, record)
        start_created(host.engine, host.paths, container)
        self.note("floor: create and start, under conmon", clock)
        self._run("kill", container, "KILL")
        deadline = time.monotonic() + 5
        while not (host.paths.exits / container).exists() and time.monotonic() < deadline:
            time.sleep(0.001)

    def _exec_alone(self, container: str) -> None:
        clock = time.perf_counter()
        self._run("exec", container, "true")
        self.note("floor: exec, alone", clock)

    async def measure(self) -> None:
        clock = time.perf_counter()
        await self.runtime.open()
        self.note("open", clock)
        archive = self.state / "busybox.tar"
        build_busybox(archive)
        clock = time.perf_counter()
        await self.images.load_archive(archive)
        self.note("load busybox", clock)
        await self.pod("warm")
        self.times = {k: v for k, v in self.times.items() if k in ("open", "load busybox")}
        await self.floor()
        made = [await self.pod(number) for number in range(self.pods)]
        for _, container in made:
            clock = time.perf_counter()
            await self.runtime.exec_sync(container, ["true"], 10)
            self.note("exec", clock)
            await self.runtime.host.workers.run(self._exec_alone, container)
        for sandbox, container in made:
            clock = time.perf_counter()
            await self.runtime.stop_container(container, 0)
            clock = self.note("kill, until the exit is known", clock)
            await self.runtime.remove_pod_sandbox(sandbox)
            self.note("remove pod", clock)
        alone = {what: list(values) for what, values in self.times.items()}
        clock = time.perf_counter()
        made = await asyncio.gather(*(self.pod(f"burst-{number}") for number in range(40)))
        took = time.perf_counter() - clock
        self.times = alone  # in a burst each waits for the others
        self.times["burst of 40: pods per second"] = [40 / took]
        events = self.runtime.events()
        for sandbox, container in made[:10]:
            await self.runtime.kill_container(container, 9)
            async for event in events:
                if event.type == EventType.STOPPED and event.container_id == container:
                    self.times.setdefault("exit event, after conmon wrote it", []).append(
                        1000 * (time.time() - event.at)
                    )
                    break
            await self.runtime.remove_pod_sandbox(sandbox)

    def clean(self) -> None:
        for place in (self.state, self.run):
            shutil.rmtree(place, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pods", type=int, default=20)
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    bench = Bench(options.runtime, options.pods)

    async def run() -> None:
        try:
            await bench.measure()
        finally:
            if bench.runtime._host is not None:
                await bench.runtime.destroy()
            bench.clean()

    asyncio.run(run())
    rows = {
        what: {"p50": statistics.median(values), "max": max(values), "n": len(values)}
        for what, values in bench.times.items()
    }
    width = max(map(len, rows))
    print(f"{'':{width}}      p50      max    n", file=sys.stderr if options.json else sys.stdout)
    for what, row in rows.items():
        print(f"{what:{width}} {row['p50']:8.1f} {row['max']:8.1f} {row['n']:4d}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
