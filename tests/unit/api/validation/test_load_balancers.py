"""What a load balancer may tell a Service about itself."""

from __future__ import annotations

import pytest

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation.field_errors import forbidden, invalid, not_supported, required
from podwright.api.validation.load_balancers import load_balancer_status

ENTRY = "status.loadBalancer.ingress[0]"
IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"ip": "10.0.0.1", "ipMode": "VIP"}, []),
        ({"hostname": "a.example.com"}, []),
        ({"ip": "x", "ipMode": "Proxy"}, [invalid(f"{ENTRY}.ip", "x", IP)]),
        ({"ip": "10.0.0.1"}, [required(f"{ENTRY}.ipMode", "must be specified when `ip` is set")]),
        ({"ipMode": "VIP"}, [forbidden(f"{ENTRY}.ipMode", "may not be specified when `ip` is not set")]),
        ({"ip": "10.0.0.1", "ipMode": "x"}, [not_supported(f"{ENTRY}.ipMode", "x", ["Proxy", "VIP"])]),
        (
            {"hostname": "10.0.0.1"},
            [invalid(f"{ENTRY}.hostname", "10.0.0.1", "must be a DNS name, not an IP address")],
        ),
    ],
)
def test_an_entry(entry: Object, expected: list[FieldError]) -> None:
    errs: list[FieldError] = []
    load_balancer_status(errs, {"ingress": [entry]}, "status.loadBalancer")
    assert errs == expected


def test_an_ingress_has_no_mode() -> None:
    errs: list[FieldError] = []
    load_balancer_status(errs, {"ingress": [{"ip": "10.0.0.1"}]}, "status.loadBalancer", modes=False)
    assert errs == []
