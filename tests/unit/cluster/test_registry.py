from __future__ import annotations

from pathlib import Path

import pytest

from podwright.cluster.layout import BadClusterName, check_name
from podwright.cluster.registry import BadDataDirectory, Ranges, Registry, TooManyClusters


def test_names_get_the_first_free_index_and_keep_it(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    assert registry.add("a", None).data == tmp_path / "a"
    registry.add("b", tmp_path / "elsewhere")
    assert (registry.ranges("a").index, registry.ranges("b").index) == (0, 1)
    registry.remove("a")
    registry.add("c", None)
    assert registry.ranges("c").index == 0
    assert Registry(tmp_path).layout("b").data == tmp_path / "elsewhere"
    assert registry.layout("a") is None


def test_a_data_directory_is_empty_or_a_clusters(tmp_path: Path) -> None:
    registry, mine = Registry(tmp_path / "state"), tmp_path / "mine"
    (mine / "lost+found").mkdir(parents=True)
    registry.add("a", mine)
    (mine / "thesis").touch()
    with pytest.raises(BadDataDirectory, match=f"--data-dir {mine} is neither empty nor a cluster's"):
        registry.add("b", mine)
    assert registry.add("a", mine).data == mine and registry.layout("b") is None
    (mine / "cluster.json").touch()
    registry.remove("a")
    registry.add("b", mine)


def test_indexes_run_out_with_a_clear_error(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    for i in range(60):
        registry.add(f"c{i}", None)
    with pytest.raises(TooManyClusters, match="60 clusters"):
        registry.add("one-more", None)


def test_ranges_of_clusters_never_overlap() -> None:
    networks = [n for i in range(60) for n in (Ranges(i).pods, Ranges(i).services, Ranges(i).nodes)]
    for i, one in enumerate(networks):
        assert not any(one.overlaps(other) for other in networks[i + 1 :])
    assert len(Ranges(59).bridge + "n200") <= 15


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a_b", "../x", "a" * 31, "images", "registry"])
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(BadClusterName, match="invalid cluster name"):
        check_name(name)
