"""From a Pod's subresource to the kubelet's path: which container, on which node, with which parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlencode

from podwright.api.objects import Object, name, namespace
from podwright.api.status import FieldError, bad_request, invalid
from podwright.api.validation import field_errors

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
Query = Mapping[str, Sequence[str]]


def is_true(query: Query, field: str) -> bool:
    """A boolean parameter: present and neither "false" nor "0"."""
    values = query.get(field) or ()
    return len(values) > 0 and values[0].lower() not in ("false", "0")


def _names(pod: Object, part: str) -> list[str]:
    return [str(c["name"]) for c in (pod.get("spec") or {}).get(part) or ()]


def container_of(pod: Object, wanted: str, *, annotated: bool = False) -> str:
    """The container that a request means. Raises ApiError (400) if there is none of that name, or no name and more
    than one to choose from."""
    containers = _names(pod, "containers")
    init, ephemeral = _names(pod, "initContainers"), _names(pod, "ephemeralContainers")
    if wanted:
        if wanted not in (*containers, *init, *ephemeral):
            raise bad_request(f"container {wanted} is not valid for pod {name(pod)}")
        return wanted
    if len(containers) == 1:
        return containers[0]
    default = (pod["metadata"].get("annotations") or {}).get(DEFAULT_CONTAINER)
    if annotated and default in containers:
        return str(default)
    choices = f"choose one of: [{' '.join(containers)}]"
    if init:
        choices += f" or one of the init containers: [{' '.join(init)}]"
    if ephemeral:
        choices += f" or one of the ephemeral containers: [{' '.join(ephemeral)}]"
    raise bad_request(f"a container name must be specified for pod {name(pod)}, {choices}")


def node_of(pod: Object) -> str:
    """Raises ApiError (400) for a Pod that no node runs."""
    node = (pod.get("spec") or {}).get("nodeName")
    if not node:
        raise bad_request(f"pod {name(pod)} does not have a host assigned")
    return str(node)


def stream_target(pod: Object, subresource: str, query: Query) -> str:
    """Path and query of exec, attach and port-forward at the kubelet."""
    where = f"{quote(namespace(pod))}/{quote(name(pod))}"
    if subresource == "portforward":
        ports = [("port", port) for value in query.get("ports", ()) for port in value.split(",")]
        return f"/portForward/{where}" + (f"?{urlencode(ports)}" if ports else "")
    container = container_of(pod, (query.get("container") or ("",))[0], annotated=True)
    parameters = [
        (kubelet_name, "1")
        for field, kubelet_name in (("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty"))
        if is_true(query, field)
    ]
    if subresource == "exec":
        parameters += [("command", argument) for argument in query.get("command", ())]
    return f"/{subresource}/{where}/{quote(container)}?{urlencode(parameters)}"


def check_stream(subresource: str, query: Query, pod_name: str) -> None:
    """Raises ApiError (422) for options that no kubelet takes."""
    if subresource == "portforward":
        return
    errors: list[FieldError] = []
    kind = "PodExecOptions" if subresource == "exec" else "PodAttachOptions"
    if subresource == "exec" and not [c for c in query.get("command", ()) if c]:
        errors.append(field_errors.required("command"))
    if not any(is_true(query, field) for field in ("stdin", "stdout", "stderr")):
        raise bad_request("you must specify at least 1 of stdin, stdout, stderr")
    if errors:
        raise invalid("", kind, pod_name, errors)


def log_target(pod: Object, query: Query) -> str:
    """Path and query of a container's log at the kubelet. Raises ApiError: 400, 422."""
    container = container_of(pod, (query.get("container") or ("",))[0])
    parameters: list[tuple[str, str]] = []
    errors: list[FieldError] = []
    for field in ("follow", "previous", "timestamps"):
        if is_true(query, field):
            parameters.append((field, "true"))
    for field, least in (("tailLines", 0), ("limitBytes", 1), ("sinceSeconds", 1)):
        value = (query.get(field) or ("",))[0]
        if not value:
            continue
        try:
            number = int(value)
        except ValueError:
            raise bad_request(f"strconv.ParseInt: parsing {_go_quoted(value)}: invalid syntax") from None
        if number < least:
            errors.append(
                field_errors.invalid(
                    field, number, f"must be greater than {'or equal to ' if not least else ''}0"
                )
            )
        parameters.append((field, str(number)))
    if since := (query.get("sinceTime") or ("",))[0]:
        parameters.append(("sinceTime", since))
        if query.get("sinceSeconds"):
            errors.append(field_errors.forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified"))
    if stream := (query.get("stream") or ("",))[0]:
        if stream not in ("All", "Stdout", "Stderr"):
            errors.append(field_errors.not_supported("stream", stream, ("All", "Stderr", "Stdout")))
        parameters.append(("stream", stream))
    if errors:
        raise invalid("", "PodLogOptions", name(pod), errors)
    where = f"{quote(namespace(pod))}/{quote(name(pod))}/{quote(container)}"
    return f"/containerLogs/{where}" + (f"?{urlencode(parameters)}" if parameters else "")


def _go_quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
