"""Runs a command as systemd would confine it: the calls that a unit allows, and no memory to write and to execute.

It is called so:

    python -m tests.deploy.confined UNIT COMMAND...

It does what `SystemCallFilter=` and `MemoryDenyWriteExecute=` do, by the same library. It is not systemd: what is done
by mounts and users is not done here.
"""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys
from pathlib import Path

ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
MASKED_EQUAL = 7
WRITE, EXECUTE = 2, 4


class Comparison(ctypes.Structure):
    """`struct scmp_arg_cmp` of libseccomp."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("mask", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
    )


def lines_of(unit: Path, name: str) -> list[str]:
    """The values of a unit's setting, in their order."""
    lines = unit.read_text().splitlines()
    return [line.partition("=")[2] for line in lines if line.partition("=")[0] == name]


def calls_in(group: str) -> set[str]:
    """The system calls of one of systemd's groups, those of groups within it too."""
    command = ["systemd-analyze", "--no-pager", "syscall-filter", group]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[1:]
    names = {line.strip() for line in listing if line.strip() and not line.strip().startswith("#")}
    inner = {name for name in names if name.startswith("@")}
    return (names - inner).union(*(calls_in(name) for name in inner))


def allowed_calls(unit: Path) -> set[str]:
    """What the unit's filter leaves of the system calls."""
    allowed: set[str] = calls_in("@default")
    for value in lines_of(unit, "SystemCallFilter"):
        groups = [calls_in(word) for word in value.removeprefix("~").split()]
        allowed = allowed.difference(*groups) if value.startswith("~") else allowed.union(*groups)
    return allowed


def confine(calls: set[str], deny_write_execute: bool) -> None:
    """Refuse every other call to this process and to those that it becomes and starts."""
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    number_of = library.seccomp_syscall_resolve_name
    filters = []
    allowing = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(REFUSE)))
    for name in sorted(calls):
        if (number := number_of(name.encode())) >= 0:  # below are calls of other architectures
            assert library.seccomp_rule_add_array(allowing, ctypes.c_uint32(ALLOW), number, 0, None) == 0
    filters.append(allowing)
    if deny_write_execute:
        denying = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(ALLOW)))
        for name, bits in (("mmap", WRITE | EXECUTE), ("mprotect", EXECUTE), ("pkey_mprotect", EXECUTE)):
            protection = Comparison(2, MASKED_EQUAL, bits, bits)
            number = number_of(name.encode())
            refused = ctypes.c_uint32(REFUSE)
            assert library.seccomp_rule_add_array(denying, refused, number, 1, ctypes.byref(protection)) == 0
        filters.append(denying)
    for each in reversed(filters):  # the narrow one is last: it may not let further ones in
        assert library.seccomp_load(each) == 0


def main() -> None:
    """Confine this process by the unit, then become the command."""
    unit, command = Path(sys.argv[1]), sys.argv[2:]
    confine(allowed_calls(unit), lines_of(unit, "MemoryDenyWriteExecute") == ["true"])
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
