"""Seccomp profiles as the kernel takes them, compiled once: crun takes a program in an annotation, and spends 9 ms of
each container's start on compiling RuntimeDefault itself. runc, which does not know the annotation, compiles."""

from __future__ import annotations

import base64
import ctypes
import os
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from typing import Any

import orjson

ANNOTATION = "run.oci.seccomp_bpf_data"

_ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000, "SCMP_ACT_KILL_THREAD": 0x00000000, "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000, "SCMP_ACT_ERRNO": 0x00050000, "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}  # fmt: skip
_EPERM = 1
_COMPARISONS = {
    f"SCMP_CMP_{name}": number
    for number, name in enumerate(("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"), 1)
}
_EXISTS, _NO_SUCH_CALL = -17, -1


class _Argument(ctypes.Structure):
    _fields_ = (
        ("arg", ctypes.c_uint), ("op", ctypes.c_int), ("datum_a", ctypes.c_uint64), ("datum_b", ctypes.c_uint64),
    )  # fmt: skip


class _NotCompiled(Exception):
    """By this module: the runtime will, or will say what is wrong."""


def encoded(profile: Mapping[str, Any]) -> str:
    """The program of a runtime specification's seccomp object, in base64; "" if it is left to the runtime."""
    return _encoded(orjson.dumps(profile, option=orjson.OPT_SORT_KEYS))


@lru_cache(maxsize=16)
def _encoded(profile: bytes) -> str:
    library = _library()
    try:
        return base64.b64encode(_compile(library, orjson.loads(profile))).decode() if library is not None else ""
    except (_NotCompiled, KeyError, ValueError, TypeError, ctypes.ArgumentError, OSError):
        return ""


@cache
def _library() -> ctypes.CDLL | None:
    """None on a host without it."""
    try:
        found = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return None
    found.seccomp_init.restype = ctypes.c_void_p
    return found


def _compile(library: ctypes.CDLL, profile: Mapping[str, Any]) -> bytes:
    if not profile.keys() <= {"defaultAction", "defaultErrnoRet", "architectures", "syscalls"}:
        raise _NotCompiled
    default = _action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(default)))
    if not context:
        raise _NotCompiled
    try:
        for name in profile.get("architectures") or ():
            token = library.seccomp_arch_resolve_name(name.removeprefix("SCMP_ARCH_").lower().encode())
            if not token:
                raise _NotCompiled
            _check(library.seccomp_arch_add(context, ctypes.c_uint32(token)), _EXISTS)
        for rule in profile.get("syscalls") or ():
            action = _action(rule["action"], rule.get("errnoRet"))
            if action == default:
                continue
            for name in rule["names"]:
                call = library.seccomp_syscall_resolve_name(name.encode())
                if call == _NO_SUCH_CALL:
                    continue
                for found in _conditions(rule.get("args") or ()):
                    array = (_Argument * len(found))(*found)
                    added = library.seccomp_rule_add_array(
                        context, ctypes.c_uint32(action), ctypes.c_int(call), ctypes.c_uint(len(found)), array
                    )
                    _check(added, _EXISTS)
        return _exported(library, context)
    finally:
        library.seccomp_release(context)


def _check(result: int, *but: int) -> None:
    if result < 0 and result not in but:
        raise _NotCompiled


def _action(name: str, errno: int | None) -> int:
    return _ACTIONS[name] | ((_EPERM if errno is None else errno) if name == "SCMP_ACT_ERRNO" else 0)


def _conditions(arguments: Any) -> Iterator[list[_Argument]]:
    """Those of one rule hold together; of several about one argument any suffices, as runtimes have it."""
    made = [_Argument(a["index"], _COMPARISONS[a["op"]], a["value"], a.get("valueTwo", 0)) for a in arguments]
    if len({a["index"] for a in arguments}) < len(made):
        yield from ([one] for one in made)
    else:
        yield made


def _exported(library: ctypes.CDLL, context: ctypes.c_void_p) -> bytes:
    memory = os.memfd_create("seccomp")
    try:
        _check(library.seccomp_export_bpf(context, memory))
        return os.pread(memory, os.fstat(memory).st_size, 0)
    finally:
        os.close(memory)
