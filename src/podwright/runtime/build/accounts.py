"""The few accounts and directories that every small image has."""

from __future__ import annotations

from podwright.runtime.build.archive import Layer

_PASSWD = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
sys:x:3:3:sys:/dev:/bin/false
sync:x:4:100:sync:/bin:/bin/sync
mail:x:8:8:mail:/var/spool/mail:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
operator:x:37:37:Operator:/var:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
"""
_GROUP = """\
root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
adm:x:4:
tty:x:5:
disk:x:6:
lp:x:7:
mail:x:8:
kmem:x:9:
wheel:x:10:root
cdrom:x:11:
dialout:x:18:
floppy:x:19:
video:x:28:
audio:x:29:
tape:x:32:
www-data:x:33:
operator:x:37:
utmp:x:43:
plugdev:x:46:
staff:x:50:
lock:x:54:
netdev:x:82:
users:x:100:
nogroup:x:65534:
"""


def add_base(layer: Layer, *, passwd: str = "", group: str = "") -> None:
    """Puts the usual tree and accounts into `layer`; `passwd` and `group` are lines to add."""
    layer.file("etc/passwd", (_PASSWD + passwd).encode())
    layer.file("etc/group", (_GROUP + group).encode())
    layer.file("etc/shadow", "".join(f"{x.split(':')[0]}:*:::::::\n" for x in (_PASSWD + passwd).splitlines()).encode(),
               mode=0o600)
    layer.file("etc/nsswitch.conf", b"passwd: files\ngroup: files\nhosts: files dns\n")
    layer.directory("tmp", mode=0o1777)
    layer.directory("var/tmp", mode=0o1777)
    layer.directory("root", mode=0o700)
    layer.directory("home", uid=65534, gid=65534)
    layer.directory("var/spool/mail")
    layer.directory("var/www", uid=33, gid=33)
    for name in ("dev", "proc", "sys", "run"):
        layer.directory(name)
