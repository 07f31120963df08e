"""exec: whether a command in the container ends with 0."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.kubelet.containers.expansion import expand
from podwright.kubelet.probes.outcomes import MAX_OUTPUT, Outcome, ProbeErrored, Result, failure
from podwright.runtime.protocol import ContainerRuntime, RuntimeFailure


async def probe(runtime: ContainerRuntime, container_id: str, ctr: Object, action: Object, timeout: float) -> Outcome:
    """Runs the command; one that has not ended after `timeout` seconds is killed with its children, and has failed.
    References to variables are replaced where the container's manifest says their value outright.

    Raises:
        ProbeErrored: the command could not be run.
    """
    env = {e["name"]: str(e.get("value") or "") for e in ctr.get("env") or () if "valueFrom" not in e}
    command = [expand(word, env) for word in action.get("command") or ()]
    try:
        result = await runtime.exec_sync(container_id, command, timeout)
    except TimeoutError:
        return failure(f'command timed out: "{" ".join(command)}" timed out after {timeout:g}s')
    except RuntimeFailure as failed:
        raise ProbeErrored(str(failed)) from failed
    output = (result.stdout + result.stderr)[:MAX_OUTPUT].decode(errors="replace")
    return Outcome(Result.SUCCESS if result.exit_code == 0 else Result.FAILURE, output)
