from __future__ import annotations

from click.testing import CliRunner

from podwright.cli.main import main


def _migrate(source: str, target: str) -> str:
    done = CliRunner().invoke(main, ["migrate", "--from", source, "--to", target])
    assert done.exit_code == 1, done.output
    return done.output


def test_a_source_that_is_not_there_is_not_made(tmp_path):
    missing = tmp_path / "none.db"
    assert "there is no such file" in _migrate(f"sqlite://{missing}", f"sqlite://{tmp_path}/new.db")
    assert not missing.exists()


def test_a_wrong_url_is_one_line():
    assert len(_migrate("ftp://x", "memory://").splitlines()) == 1


def test_a_store_is_not_moved_onto_itself():
    assert "the same store" in _migrate("memory://", "memory://")
