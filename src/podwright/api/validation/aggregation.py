"""APIServices."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import names
from podwright.api.validation.field_errors import formed, invalid, one_of, required
from podwright.api.validation.rules import Kinds, Rules, spec_of


def api_service(errs: list[FieldError], obj: Object) -> None:
    spec, name = spec_of(obj), (obj.get("metadata") or {}).get("name") or ""
    group, version = spec.get("group") or "", spec.get("version") or ""
    wanted = f"{version}.{group}"
    if name and name != wanted and not names.path_segment_name(name):
        said = f'must be `spec.version+"."+spec.group`: "{wanted}"'
        errs.append(invalid("metadata.name", name, said))
    if not group and version != "v1":
        errs.append(required("spec.group", "only v1 may have an empty group and it better be legacy kube"))
    if group:
        formed(errs, group, "spec.group", names.dns_subdomain)
    formed(errs, version, "spec.version", names.dns_1035_label)
    for field, most in (("groupPriorityMinimum", 20000), ("versionPriority", 1000)):
        value = spec.get(field) or 0
        if not 0 < value <= most:
            errs.append(invalid(f"spec.{field}", value, f"must be positive and less than {most}"))
    service, bundle, insecure = spec.get("service"), spec.get("caBundle"), spec.get("insecureSkipTLSVerify")
    if service is None:
        if bundle:
            size = len(bundle) * 3 // 4 - bundle.count("=")
            errs.append(invalid("spec.caBundle", f"{size} bytes", "local APIServices may not have a caBundle"))
        if insecure:
            said = "local APIServices may not have insecureSkipTLSVerify"
            errs.append(invalid("spec.insecureSkipTLSVerify", insecure, said))
        return
    for field in ("namespace", "name"):
        if not service.get(field):
            errs.append(required(f"spec.service.{field}"))
    port = service.get("port") or 0
    if problems := names.port_number(port):
        errs.append(invalid("spec.service.port", port, "port is not valid: " + ", ".join(problems)))
    if insecure and bundle:
        errs.append(invalid("spec.insecureSkipTLSVerify", insecure, "may not be true if caBundle is present"))


def _status(errs: list[FieldError], new: Object, old: Object) -> None:
    for i, condition in enumerate((new.get("status") or {}).get("conditions") or ()):
        status = condition.get("status") or ""
        one_of(errs, status, f"status.conditions[{i}].status", ("True", "False", "Unknown"))


KINDS: Kinds = {
    ("apiregistration.k8s.io", "APIService"): Rules(
        name=names.path_segment_name, create=api_service, subresources={"status": _status}
    ),
}
