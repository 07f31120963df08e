from decimal import Decimal

import pytest

from podwright.api import pods


def res(requests: dict | None = None, limits: dict | None = None, **more: object) -> dict:
    return {"resources": {k: v for k, v in (("requests", requests), ("limits", limits)) if v is not None}, **more}


def pod(*containers: dict, init: tuple[dict, ...] = (), status: dict | None = None, **spec: object) -> dict:
    named = [{"name": f"c{i}", **c} for i, c in enumerate(containers)]
    inits = [{"name": f"i{i}", **c} for i, c in enumerate(init)]
    return {"spec": {"containers": named, "initContainers": inits, **spec}, "status": status or {}}


def test_requests_are_summed() -> None:
    p = pod(res({"cpu": "100m", "memory": "64Mi"}), res({"cpu": "0.2", "x/y": 1}), overhead={"cpu": "1m"})
    assert pods.requests(p) == {"cpu": 301, "memory": 64 * 2**20, "x/y": 1}
    assert pods.total(p, "requests") == {"cpu": Decimal("0.301"), "memory": Decimal(64 * 2**20), "x/y": Decimal(1)}
    assert pods.requests(pod({})) == {}


def test_sums_round_once() -> None:
    p = pod(res({"cpu": "0.4m"}), res({"cpu": "0.4m"}))
    assert pods.requests(p) == {"cpu": 1}


def test_init_containers_need_their_peak() -> None:
    p = pod(res({"cpu": "1"}), init=(res({"cpu": "3"}), res({"cpu": "2", "memory": "1Gi"})))
    assert pods.requests(p) == {"cpu": 3000, "memory": 2**30}


def test_sidecars_run_beside_all_that_follows() -> None:
    side = res({"cpu": "1"}, restartPolicy="Always")
    assert pods.requests(pod(res({"cpu": "2"}), init=(side,))) == {"cpu": 3000}
    assert pods.requests(pod(res({"cpu": "2"}), init=(side, res({"cpu": "4"})))) == {"cpu": 5000}
    assert pods.requests(pod(res({"cpu": "2"}), init=(res({"cpu": "4"}), side))) == {"cpu": 4000}


def test_pod_level_resources_stand_in_for_the_sum() -> None:
    p = pod(res({"cpu": "1", "memory": "1Mi", "x/y": "1"}), overhead={"cpu": "1"},
            resources={"requests": {"cpu": "5", "x/y": "9"}, "limits": {"memory": "1Gi"}})
    assert pods.requests(p) == {"cpu": 6000, "memory": 2**20, "x/y": 1}
    assert pods.limits(p) == {"memory": 2**30}


def test_resizes_count_the_most() -> None:
    status = {"containerStatuses": [{
        "name": "c0", "allocatedResources": {"cpu": "2"}, "resources": {"requests": {"cpu": "3"},
                                                                         "limits": {"cpu": "4"}}}]}
    p = pod(res({"cpu": "1"}, {"cpu": "1"}), status=status)
    assert pods.requests(p) == {"cpu": 3000}
    assert pods.requests(p, for_scheduling=False) == {"cpu": 1000}
    assert pods.limits(p, for_scheduling=True) == {"cpu": 4000}
    assert pods.limits(p) == {"cpu": 1000}
    big = pod(res({"cpu": "9"}, {"cpu": "9"}), status=status)
    assert pods.requests(big) == {"cpu": 9000}
    big["status"]["conditions"] = [{"type": "PodResizePending", "reason": "Infeasible", "status": "True"}]
    assert pods.requests(big) == {"cpu": 3000}
    assert pods.limits(big, for_scheduling=True) == {"cpu": 4000}


def test_pod_level_resizes() -> None:
    p = pod(res({"cpu": "1"}), overhead={"cpu": "1"}, resources={"requests": {"cpu": "2"}},
            status={"allocatedResources": {"cpu": "5"}, "resources": {"requests": {"cpu": "4"}}})
    assert pods.requests(p) == {"cpu": 5000}
    assert pods.requests(p, for_scheduling=False) == {"cpu": 3000}


def test_overhead_is_added_to_limits_that_exist() -> None:
    assert pods.limits(pod(res(None, {"cpu": "1"}), overhead={"cpu": "1", "memory": "1"})) == {"cpu": 2000}


BOTH = {"cpu": "1", "memory": "1Gi"}


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        (pod({}), "BestEffort"),
        (pod(res({"x/y": "1"}, {"x/y": "1"})), "BestEffort"),
        (pod(res({"cpu": "0"})), "BestEffort"),
        (pod(res(BOTH, BOTH)), "Guaranteed"),
        (pod(res(BOTH, {"cpu": "1000m", "memory": "1024Mi"})), "Guaranteed"),
        (pod(res(BOTH, {**BOTH, "cpu": "2"})), "Burstable"),
        (pod(res(BOTH, BOTH), {}), "Burstable"),
        (pod(res({"cpu": "1"}, {"cpu": "1"})), "Burstable"),
        (pod(res(BOTH, BOTH), init=(res({"cpu": "1"}),)), "Burstable"),
        (pod({}, resources={"requests": BOTH, "limits": BOTH}), "Guaranteed"),
        (pod(res(BOTH, BOTH), resources={"requests": {"cpu": "1"}}), "Burstable"),
    ],
)
def test_qos(p: dict, expected: str) -> None:
    assert pods.compute_qos_class(p) == expected
    assert pods.qos_class({**p, "status": {"qosClass": "Burstable"}}) == "Burstable"


def test_containers_and_statuses() -> None:
    p = pod({}, init=({"restartPolicy": "Always"},), ephemeralContainers=[{"name": "e"}],
            status={"phase": "Failed", "ephemeralContainerStatuses": [{"name": "e", "ready": False}],
                    "conditions": [{"type": "Ready", "status": "True"}]})
    assert [(k, c["name"]) for k, c in pods.all_containers(p)] == [
        ("init", "i0"), ("regular", "c0"), ("ephemeral", "e")]
    assert pods.container_status(p, "e") == {"name": "e", "ready": False}
    assert pods.container_status(p, "c0") is None
    assert pods.container(p, "c0") == {"name": "c0"}
    assert pods.is_terminal(p)
    assert pods.is_ready(p)
    assert pods.is_sidecar(p["spec"]["initContainers"][0])
    assert pods.priority(p) == 0


def test_host_ports() -> None:
    p = pod({"ports": [{"containerPort": 1, "hostPort": 80}, {"containerPort": 2}]},
            init=({"restartPolicy": "Always", "ports": [{"hostPort": 53, "protocol": "UDP", "hostIP": "10.0.0.1"}]},
                  {"ports": [{"hostPort": 99}]}))
    assert pods.host_ports(p) == [("UDP", "10.0.0.1", 53), ("TCP", "0.0.0.0", 80)]


def test_static_and_mirror_pods() -> None:
    static = {"metadata": {"annotations": {"kubernetes.io/config.source": "file"}}}
    mirror = {"metadata": {"annotations": {"kubernetes.io/config.source": "file", "kubernetes.io/config.mirror": "x"}}}
    assert pods.is_static(static)
    assert not pods.is_mirror(static)
    assert pods.is_mirror(mirror)
    assert not pods.is_static(mirror)
    assert not pods.is_static({})
