"""The kubelet's configuration file: what it sets, and what is told when it is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from podwright.kubelet import config_file
from podwright.kubelet.config import KubeletConfig
from podwright.kubelet.config_file import BadConfiguration, applied, seconds

HEAD = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"


def test_fields_become_the_kubelets(tmp_path: Path) -> None:
    file = tmp_path / "kubelet.yaml"
    file.write_text(
        HEAD + "maxPods: 20\npodPidsLimit: 512\ncpuManagerPolicy: static\nreservedSystemCPUs: 0,2-3\n"
        "kubeReserved: {cpu: 500m, memory: 1Gi}\nevictionSoft: {memory.available: 5%}\n"
        "evictionSoftGracePeriod: {memory.available: 1m30s}\ncontainerLogMaxSize: 20Mi\n"
        "staticPodURL: https://example.com/pods\nstaticPodURLHeader: {X-Token: [a, b]}\nhttpCheckFrequency: 5s\n"
        "staticPodPath: /etc/pods\nshutdownGracePeriodByPodPriority: [{priority: 5, shutdownGracePeriodSeconds: 9}]\n"
        "memorySwap: {swapBehavior: LimitedSwap}\nshutdownGracePeriod: 45s\ncpuCFSQuotaPeriod: 50ms\n"
        "capacity: {podwright.io/disk-read-bps: 200Mi, example.com/licence: 3}\n"
    )
    config = applied(KubeletConfig(node_name="n", data_dir=tmp_path, cgroup_root="/x"), file)
    assert (config.max_pods, config.pod_pids_limit, config.cpu_manager_policy) == (20, 512, "static")
    # Reserved by number goes before reserved by amount, as upstream has it.
    assert (config.reserved_cpus, config.system_reserved, config.kube_reserved) == (
        "0,2-3", {"cpu": "3"}, {"memory": "1Gi"}
    )  # fmt: skip
    assert (config.static_pod_url, config.static_pod_url_headers) == ("https://example.com/pods", {"X-Token": "a,b"})
    assert (config.static_pod_url_period, config.static_pod_path) == (5.0, Path("/etc/pods"))
    assert config.shutdown_grace_by_priority == ((5, 9.0),)
    assert config.eviction_soft_grace_period == {"memory.available": 90.0}
    assert (config.container_log_max_size, config.swap_behavior) == (20 << 20, "LimitedSwap")
    assert (config.shutdown_grace_period, config.cpu_cfs_quota_period) == (45.0, 50_000)
    assert config.capacity == {"podwright.io/disk-read-bps": "200Mi", "example.com/licence": "3"}
    assert seconds("1h2m3.5s") == 3723.5
    again = tmp_path / "told.yaml"
    again.write_text(json.dumps(config_file.document(config), default=str))
    assert applied(KubeletConfig(node_name="n", data_dir=tmp_path, cgroup_root="/x"), again) == config


def test_topology_policies_are_taken_where_they_make_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config_file, "NUMA_NODES", tmp_path)
    file, config = tmp_path / "kubelet.yaml", KubeletConfig(node_name="n", data_dir=tmp_path, cgroup_root="/x")
    (tmp_path / "node0").mkdir()
    file.write_text(HEAD + "topologyManagerPolicy: single-numa-node\ntopologyManagerScope: pod\n")
    assert applied(config, file) == config
    (tmp_path / "node1").mkdir()
    with pytest.raises(BadConfiguration, match="'single-numa-node' on a machine with 2 NUMA nodes: only none"):
        applied(config, file)
    file.write_text(HEAD + "topologyManagerPolicy: none\nmemoryManagerPolicy: None\n")
    assert applied(config, file) == config


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("kind: Pod\n", "expected kind KubeletConfiguration"),
        (HEAD + "maxPod: 3\n", 'unknown field "maxPod"'),
        (HEAD + "maxPods: many\n", "maxPods: 'many' is no integer"),
        (HEAD + "cpuManagerPolicy: greedy\n", "'greedy' is none of none, static"),
        (HEAD + "memoryManagerPolicy: Static\n", "memoryManagerPolicy: 'Static' is none of None"),
        (HEAD + "topologyManagerPolicy: strict\n", "'strict' is none of none, best-effort, restricted"),
        (HEAD + "shutdownGracePeriod: 5 minutes\n", "no duration"),
        (HEAD + "capacity: {podwright.io/disk-read-bps: fast}\n", "capacity: "),
        (HEAD + "reservedSystemCPUs: a-b\n", "reservedSystemCPUs: "),
        (HEAD + "cpuManagerPolicy: static\n", "cpuManagerPolicy: static needs reservedSystemCPUs"),
        ("- 1\n", "not an object"),
        ("{", "kubelet.yaml: "),
    ],
)
def test_what_is_wrong_is_told_with_the_field(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "kubelet.yaml"
    file.write_text(text)
    with pytest.raises(BadConfiguration, match=complaint):
        applied(KubeletConfig(node_name="n", data_dir=tmp_path, cgroup_root="/x"), file)
