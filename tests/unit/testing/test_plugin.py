"""The pytest plugin as its users have it: each test here is a pytest run of its own, by pytest's pytester."""

from __future__ import annotations

import subprocess
import sys

import pytest

from podwright.testing.api import api_server

pytest_plugins = ["pytester"]


def test_each_test_has_an_empty_api_server_for_the_kubernetes_package(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from kubernetes import client, config

        @pytest.mark.parametrize("time", ["first", "again"])
        def test_config_maps(podwright_api, time):
            core = client.CoreV1Api(config.new_client_from_config(str(podwright_api.kubeconfig)))
            assert core.list_namespaced_config_map("default").items == []
            core.create_namespaced_config_map("default", client.V1ConfigMap(metadata={"name": "c"}, data={"k": "v"}))
            assert podwright_api.get("configmap", "c")["data"] == {"k": "v"}

        def test_refusals_are_the_api_servers(podwright_api):
            core = client.CoreV1Api(config.new_client_from_config(str(podwright_api.kubeconfig)))
            with pytest.raises(client.ApiException) as refused:
                core.create_namespaced_pod("default", {"metadata": {"name": "Not a name"}, "spec": {"containers": []}})
            assert refused.value.status == 422
        """
    )
    pytester.runpytest("--strict-markers").assert_outcomes(passed=3)


def test_asyncio_tests_use_kr8s_or_the_client_over_https(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function")
    pytester.makepyfile(
        """
        import kr8s.asyncio
        from podwright.api.resources import PODS

        POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
               "spec": {"containers": [{"name": "c", "image": "busybox"}]}}

        async def test_pods(podwright_api):
            kr8s_api = await kr8s.asyncio.api(kubeconfig=str(podwright_api.kubeconfig))
            pod = await kr8s.asyncio.objects.Pod(POD, api=kr8s_api)
            await pod.create()
            client = podwright_api.new_client()
            assert [p["metadata"]["name"] for p in await client.items(PODS)] == ["p"]
            await client.aclose()

        def test_plain(podwright_api):
            made = podwright_api.run(podwright_api.client.create(PODS, POD))
            assert made["spec"]["restartPolicy"] == "Always"
        """
    )
    pytester.runpytest().assert_outcomes(passed=2)


def test_controllers_scheduler_and_simulated_nodes_by_the_marker(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.podwright(controllers=True, scheduler=True, simulated_nodes=3)
        def test_deployment(podwright_api):
            podwright_api.kubectl("create", "deployment", "web", "--image=nginx", "--replicas=3")
            podwright_api.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
            pods = podwright_api.get("pods", "-l", "app=web")["items"]
            assert {p["status"]["phase"] for p in pods} == {"Running"}
            assert {p["spec"]["nodeName"] for p in pods} == {"simulated-1", "simulated-2", "simulated-3"}

        @pytest.mark.podwright(simulated_nodes=1)
        def test_a_scheduler_of_ones_own(podwright_api):
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
                   "spec": {"nodeName": "simulated-1", "containers": [{"name": "c", "image": "x"}]}}
            podwright_api.apply(pod)
            podwright_api.kubectl("wait", "pod/p", "--for=condition=Ready", "--timeout=60s")

        @pytest.mark.podwright(controler=True)
        def test_misspelt(podwright_api):
            pass
        """
    )
    done = pytester.runpytest("--strict-markers")
    done.assert_outcomes(passed=2, errors=1)
    done.stdout.fnmatch_lines(["*unexpected keyword argument 'controler'*"])


def test_a_component_that_fails_fails_the_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from podwright.cluster import components

        class Broken:
            def __init__(self, clients):
                pass

            async def run(self):
                raise RuntimeError("the scheduler broke")

        @pytest.mark.podwright(scheduler=True)
        def test_innocent(podwright_api, monkeypatch):
            pass

        @pytest.fixture(autouse=True)
        def no_scheduler(monkeypatch):
            monkeypatch.setattr(components, "scheduler", Broken)
        """
    )
    done = pytester.runpytest()
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    done.stdout.fnmatch_lines(["*the scheduler broke*"])


def test_without_root_a_cluster_is_an_error_of_one_line(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    pytester.makepyfile("def test_it(podwright_cluster): pass")
    done = pytester.runpytest()
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["podwright_cluster: *needs root*use podwright_api"])


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("podwright_cluster_scope = week", "'week' is none of session, package, module, class, function"),
        ("podwright_nodes = two", "'two' is no number of nodes"),
        ("podwright_nodes = 0", "'0' is no number of nodes"),
    ],
)
def test_a_wrong_setting_is_refused(pytester: pytest.Pytester, setting: str, said: str) -> None:
    pytester.makeini(f"[pytest]\n{setting}")
    pytester.makepyfile("def test_it(podwright_cluster): pass")
    done = pytester.runpytest()
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines([f"ERROR: *{said}"])


def test_a_run_that_does_not_use_it_does_not_pay_for_it() -> None:
    script = (
        "import sys, podwright.testing.plugin;"
        "print([m for m in ('aiohttp', 'numpy', 'cryptography', 'podwright.apiserver.server') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_nothing_of_the_server_is_left_after_the_block() -> None:
    with api_server() as api:
        directory = api.kubeconfig.parent
        assert api.kubectl("get", "--raw", "/readyz") == "ok"
    assert not directory.exists()
    with pytest.raises(AssertionError, match="kubectl get"):
        api.kubectl("get", "pods", "--server", api.url, "--insecure-skip-tls-verify", "--request-timeout=2s")
