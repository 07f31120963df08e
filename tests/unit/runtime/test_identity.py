"""Users, groups and capabilities of a container."""

from __future__ import annotations

from pathlib import Path

import pytest

from podwright.runtime.oci import capabilities
from podwright.runtime.oci.users import Identity, identify, read_in_root
from podwright.runtime.protocol import RuntimeFailure, SecurityContext

PASSWD = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/srv:/bin/false\nbroken line\n12:x:77:78::/n:/x\n"
GROUP = "root:x:0:\nstaff:x:50:web,other\nextra:x:60:web\n"


@pytest.mark.parametrize(
    ("security", "image_user", "expected"),
    [
        (SecurityContext(), "", Identity(0, 0, (0,), "/root")),
        (SecurityContext(), "web", Identity(33, 34, (34, 50, 60), "/srv")),
        (SecurityContext(), "33", Identity(33, 34, (34, 50, 60), "/srv")),
        (SecurityContext(), "web:staff", Identity(33, 50, (50, 60), "/srv")),
        (SecurityContext(), "1000:2000", Identity(1000, 2000, (2000,), "/")),
        (SecurityContext(), "12", Identity(77, 78, (78,), "/n")),
        (SecurityContext(run_as_user=33), "root", Identity(33, 34, (34, 50, 60), "/srv")),
        (SecurityContext(run_as_user=5), "web:staff", Identity(5, 0, (0,), "/")),
        (SecurityContext(run_as_username="web", run_as_group=9), "", Identity(33, 9, (9, 50, 60), "/srv")),
        (SecurityContext(run_as_user=33, supplemental_groups=[50, 7]), "", Identity(33, 34, (34, 50, 60, 7), "/srv")),
        (
            SecurityContext(run_as_user=33, supplemental_groups=[7], supplemental_groups_policy="Strict"), "",
            Identity(33, 34, (34, 7), "/srv"),
        ),
    ],
)
def test_identify(security: SecurityContext, image_user: str, expected: Identity) -> None:
    assert identify(security, image_user, PASSWD, GROUP) == expected


def test_unknown_names() -> None:
    with pytest.raises(RuntimeFailure, match="no matching entries in passwd file"):
        identify(SecurityContext(), "nobody", PASSWD, GROUP)
    with pytest.raises(RuntimeFailure, match="no matching entries in group file"):
        identify(SecurityContext(), "web:none", PASSWD, GROUP)


def test_links_in_the_image_stay_in_the_image(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").symlink_to("/etc/hostname")
    assert read_in_root(tmp_path, "etc/passwd") == ""
    (tmp_path / "etc" / "hostname").write_text("inside")
    assert read_in_root(tmp_path, "etc/passwd") == "inside"
    (tmp_path / "etc" / "group").mkdir()
    assert read_in_root(tmp_path, "etc/group") == ""


EVERYTHING = frozenset(capabilities.ALL)


def test_capabilities() -> None:
    def of(add: list[str], drop: list[str], privileged: bool = False) -> set[str]:
        return set(capabilities.effective(add=add, drop=drop, privileged=privileged, available=EVERYTHING))

    default = set(capabilities.DEFAULT)
    assert of([], []) == default
    assert of(["net_admin"], ["CAP_CHOWN"]) == default - {"CAP_CHOWN"} | {"CAP_NET_ADMIN"}
    assert of(["NET_RAW"], ["ALL"]) == {"CAP_NET_RAW"}
    assert of(["ALL"], ["SYS_ADMIN"]) == set(capabilities.ALL) - {"CAP_SYS_ADMIN"}
    assert of([], [], privileged=True) == set(capabilities.ALL)
    with pytest.raises(capabilities.UnknownCapability):
        of(["FLY"], [])


def test_what_the_host_lacks_is_left_out() -> None:
    available = EVERYTHING - {"CAP_MKNOD"}
    assert "CAP_MKNOD" not in capabilities.effective(add=["MKNOD"], drop=[], privileged=True, available=available)
