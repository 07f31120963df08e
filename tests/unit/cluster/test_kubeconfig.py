from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
import yaml

from podwright.cluster import kubeconfig
from podwright.cluster.pki import Pki


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory):
    pki = Pki(tmp_path_factory.mktemp("pki"))
    pki.ensure_ca()
    admin = pki.client("admin", "kubernetes-admin", ["system:masters"])
    return lambda name: kubeconfig.document(name, "https://127.0.0.1:6443", pki.ca.certificate, admin)


def test_merge_keeps_what_is_there_and_remove_takes_only_ours(tmp_path: Path, document) -> None:
    path = tmp_path / "deep" / "config"
    path.parent.mkdir()
    foreign = {"name": "other", "context": {"cluster": "other", "user": "other", "namespace": "n"}}
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "contexts": [foreign], "x-mine": 1}))
    kubeconfig.merge(path, document("podwright"))
    kubeconfig.merge(path, document("podwright"))
    merged = yaml.safe_load(path.read_text())
    assert [c["name"] for c in merged["contexts"]] == ["other", "podwright"]
    assert merged["current-context"] == "podwright" and merged["x-mine"] == 1
    assert path.stat().st_mode & 0o777 == 0o600
    kubeconfig.remove(path, "podwright")
    left = yaml.safe_load(path.read_text())
    assert left["contexts"] == [foreign] and left["clusters"] == [] and left["current-context"] == ""


def test_concurrent_merges_lose_nothing(tmp_path: Path, document) -> None:
    path = tmp_path / "config"
    names = [f"c{i}" for i in range(8)]
    threads = [threading.Thread(target=kubeconfig.merge, args=(path, document(n))) for n in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(c["name"] for c in yaml.safe_load(path.read_text())["contexts"]) == names
    assert os.listdir(tmp_path) == ["config"]


def test_the_first_file_of_the_variable_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SUDO_UID", raising=False)
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/a:{tmp_path}/b")
    assert kubeconfig.user_file()[0] == tmp_path / "a"
    monkeypatch.setenv("KUBECONFIG", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert kubeconfig.user_file()[0] == tmp_path / ".kube" / "config"
    assert kubeconfig.user_file("x/y")[0] == Path("x/y").absolute()


@pytest.mark.parametrize("text", ["{{{ no yaml", "[1, 2]", "clusters: text\n", "users: [text]\n"])
def test_what_is_no_kubeconfig_is_refused_and_left_as_it_is(tmp_path: Path, document, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(kubeconfig.NotAKubeconfig, match=str(path)):
        kubeconfig.merge(path, document("podwright"))
    with pytest.raises(kubeconfig.NotAKubeconfig, match=str(path)):
        kubeconfig.remove(path, "podwright")
    assert path.read_text() == text and os.listdir(tmp_path) == ["config"]


def test_a_directory_is_no_kubeconfig(tmp_path: Path) -> None:
    with pytest.raises(kubeconfig.NotAKubeconfig, match="Is a directory"):
        kubeconfig.read(tmp_path)
