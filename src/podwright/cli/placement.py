"""``podwright explain-placement``: why a Pod is, or is not, where it is."""

from __future__ import annotations

import json

import click

from podwright.cli.options import name_option, output_option, tells_failures


@click.command()
@click.argument("pod")
@click.option("-n", "--namespace", default="default", show_default=True)
@name_option
@output_option
def explain_placement(pod: str, namespace: str, name: str, output: str) -> None:
    """Say for each node why the Pod may not run there, or how good it would be."""
    from podwright.api.status import ApiError
    from podwright.client.transport import ServerUnreachable
    from podwright.cluster.down import NoSuchCluster
    from podwright.cluster.placement import explain_placement as ask
    from podwright.scheduler.config import DEFAULT_SCHEDULER

    report = tells_failures(NoSuchCluster, ApiError, ServerUnreachable)(ask)(name, namespace, pod)
    if output == "json":
        click.echo(json.dumps(report, indent=2))
        return
    where = f"runs on {report['node']}" if report["node"] else "has no node"
    click.echo(f"pod {report['pod']} {where}{'; ' + report['message'] if report['message'] else ''}")
    if report["scheduler"] != DEFAULT_SCHEDULER:
        click.echo(f"its scheduler is {report['scheduler']}; what follows is what the default plugins say")
    for answer in report["nodes"]:
        mark = "*" if answer["chosen"] else " "
        said = "; ".join(answer["refusals"]) if answer["refusals"] else f"fits, score {answer['score']:.3f}"
        click.echo(f"{mark} {answer['node']:<20} {said}")
        if not answer["refusals"] and answer.get("plugins"):
            parts = ", ".join(f"{plugin} {value}" for plugin, value in answer["plugins"].items())
            click.echo(f"{'':22} {parts}")
