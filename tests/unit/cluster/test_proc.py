from __future__ import annotations

from podwright.cluster import proc_net, proc_status
from podwright.cluster.anatomy import shared
from podwright.cluster.cgroup_limits import numbers

TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:1F90 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0
"""
TCP6 = TCP.splitlines()[0] + "\n   0: 00000000000000000000000001000000:0050 " + "0" * 32 + ":0000 0A 0 0\n"
ROUTE = """Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT
eth0\t00000000\t0101FEA9\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0101FEA9\t00000000\t0005\t0\t0\t0\tFFFFFFFF\t0\t0\t0
"""


def test_only_listening_sockets_are_ports_in_use():
    assert proc_net.bound("tcp", TCP, "0A") == [{"protocol": "tcp", "address": "127.0.0.1", "port": 8080}]
    assert proc_net.bound("tcp6", TCP6, "0A") == [{"protocol": "tcp6", "address": "::1", "port": 80}]


def test_routes():
    assert proc_net.routes(ROUTE) == [
        {"destination": "0.0.0.0/0", "gateway": "169.254.1.1", "device": "eth0"},
        {"destination": "169.254.1.1/32", "gateway": "", "device": "eth0"},
    ]


def test_ipv6_routes_and_user_maps():
    line = "{} {} 00000000000000000000000000000000 00 {} 00000400 00000001 00000000 00000001 {}"
    table = "\n".join((
        line.format("0" * 32, "00", "fe80" + "0" * 27 + "1", "eth0"),
        line.format("ff" + "0" * 30, "08", "0" * 32, "eth0"),
        line.format("0" * 31 + "1", "80", "0" * 32, "lo"),
    ))
    assert proc_net.routes6(table) == [{"destination": "::/0", "gateway": "fe80::1", "device": "eth0"}]
    assert proc_status.user_map("         0          0 4294967295\n") == []
    assert proc_status.user_map("0 65536 65536\n") == [{"inside": 0, "outside": 65536, "length": 65536}]


def test_capabilities_by_number_even_those_without_a_name():
    assert proc_status.capabilities("0000000000000401") == ["CHOWN", "NET_BIND_SERVICE"]
    assert proc_status.capabilities(f"{1 << 60:x}") == ["60"]


def test_mounts_with_optional_fields_and_spaces():
    line = "36 35 98:0 /mnt1 /a\\040b rw,noatime master:1 - ext3 /dev/root rw,errors=continue"
    assert proc_status.mounts(line) == [
        {"target": "/a b", "type": "ext3", "source": "/dev/root", "root": "/mnt1", "options": "rw,noatime"}
    ]


def test_a_namespace_names_its_containers_and_the_host():
    rows = shared({"a": {"net": 1, "pid": 2}, "b": {"net": 1, "pid": 3}}, {"host": {"net": 1, "pid": 9}})
    assert rows == [
        {"kind": "net", "inode": 1, "containers": ["a", "b"], "sharedWith": ["host"]},
        {"kind": "pid", "inode": 2, "containers": ["a"], "sharedWith": []},
        {"kind": "pid", "inode": 3, "containers": ["b"], "sharedWith": []},
    ]


def test_both_versions_of_cgroups_say_the_same(tmp_path):
    old, new = tmp_path / "1", tmp_path / "2"
    files = {
        old: {"memory.limit_in_bytes": "9223372036854771712", "memory.usage_in_bytes": "4096",
              "cpu.cfs_quota_us": "10000", "cpu.cfs_period_us": "100000", "cpuacct.usage": "1500000000",
              "cpu.stat": "nr_periods 1", "pids.max": "max", "pids.current": "2", "cpu.shares": "204",
              "cpuset.effective_cpus": "0-1", "blkio.throttle.read_bps_device": "254:0 2097152",
              "blkio.throttle.write_iops_device": "254:0 50",
              "blkio.throttle.io_service_bytes": "254:0 Read 8192\n254:0 Write 4096\n254:0 Total 12288\nTotal 12288"},
        new: {"memory.max": "max", "memory.current": "4096", "cpu.max": "10000 100000",
              "cpu.stat": "usage_usec 1500000", "pids.max": "max", "pids.current": "2", "cpu.weight": "204",
              "cpuset.cpus.effective": "0-1", "io.max": "254:0 rbps=2097152 wbps=max riops=max wiops=50",
              "io.stat": "254:0 rbytes=8192 wbytes=4096 rios=2 wios=1"},
    }  # fmt: skip
    for directory, contents in files.items():
        directory.mkdir()
        for name, text in contents.items():
            (directory / name).write_text(text + "\n")
    expected = {"memoryLimitBytes": None, "memoryUsageBytes": 4096, "cpuLimitMillicores": 100,
                "cpuUsageSeconds": 1.5, "pidsLimit": None, "pidsUsage": 2, "cpuWeight": 204, "cpuset": "0-1",
                "diskLimits": [{"device": "254:0", "readBps": 2097152, "writeIops": 50}],
                "diskReadBytes": 8192, "diskWriteBytes": 4096}  # fmt: skip
    assert numbers([old]) == expected
    assert numbers([new]) == expected
