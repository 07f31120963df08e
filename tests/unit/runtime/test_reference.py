import pytest

from podwright.runtime.images.reference import InvalidReference, parse

HEX = "a" * 64


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("docker.io/busybox", "docker.io/library/busybox:latest"),
        ("index.docker.io/library/busybox", "docker.io/library/busybox:latest"),
        ("team/app", "docker.io/team/app:latest"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app:v1", "localhost:5000/app:v1"),
        ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c:latest"),
        ("[::1]:5000/app", "[::1]:5000/app:latest"),
        ("Registry/app", "Registry/app:latest"),
        ("registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.9"),
        (f"app@sha256:{HEX}", f"docker.io/library/app@sha256:{HEX}"),
        (f"app:tag@sha256:{HEX}", f"docker.io/library/app@sha256:{HEX}"),
        ("a__b/c--d.e_f", "docker.io/a__b/c--d.e_f:latest"),
    ],
)
def test_full_form(text: str, full: str) -> None:
    assert str(parse(text)) == full
    assert str(parse(full)) == full


@pytest.mark.parametrize(
    "text",
    [
        "", ":tag", "Upper", "a//b", "a/", "/a", "a:", "a:b:c", "a b", "a@sha256:short", "a@", HEX, "-a", "a..b",
        "x/" + "a" * 256, "a:" + "t" * 129, "a_", "..", "a/../b",
    ],
)
def test_nonsense(text: str) -> None:
    with pytest.raises(InvalidReference):
        parse(text)
