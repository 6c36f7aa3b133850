"""Runs a program whose listening sockets, were they meant for every interface, are bound to loopback instead.

    python loopback.py PROGRAM ARGUMENT…

For a server that has no setting for the address it listens on. It needs neither root nor a network namespace: a seccomp
filter hands each `bind` of the program to this process, which rewrites a wildcard address in the program's memory and
lets the call go on. Linux 5.5 or newer on x86-64. The program dies with this process; this process exits as it does.
"""

import contextlib
import ctypes
import fcntl
import os
import select
import signal
import socket
import struct
import sys

SYS_BIND, SYS_SECCOMP = 49, 317
AUDIT_ARCH_X86_64 = 0xC000003E
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER = 1, 1 << 3
SECCOMP_RET_ALLOW, SECCOMP_RET_USER_NOTIF = 0x7FFF0000, 0x7FC00000
NOTIF_RECV, NOTIF_SEND = 0xC0502100, 0xC0182101
CONTINUE_THE_CALL = 1
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06

WILDCARD_4, LOOPBACK_4 = bytes(4), bytes([127, 0, 0, 1])
WILDCARD_6, LOOPBACK_MAPPED = bytes(16), bytes(10) + b"\xff\xff" + LOOPBACK_4  # a dual-stack socket takes the mapped address

libc = ctypes.CDLL(None, use_errno=True)


class FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def checked(result: int, what: str) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def listen_for_binds() -> int:
    """Installs the filter in this process and its descendants; gives the descriptor on which their `bind` calls arrive."""
    instructions = (
        (LOAD_WORD, 0, 0, 4),  # the architecture
        (JUMP_IF_EQUAL, 0, 3, AUDIT_ARCH_X86_64),
        (LOAD_WORD, 0, 0, 0),  # the number of the system call
        (JUMP_IF_EQUAL, 0, 1, SYS_BIND),
        (RETURN, 0, 0, SECCOMP_RET_USER_NOTIF),
        (RETURN, 0, 0, SECCOMP_RET_ALLOW),
    )
    program = FilterProgram(len(instructions), b"".join(struct.pack("HBBI", *each) for each in instructions))
    checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    flags = ctypes.c_ulong(SECCOMP_FILTER_FLAG_NEW_LISTENER)
    return checked(libc.syscall(SYS_SECCOMP, SECCOMP_SET_MODE_FILTER, flags, ctypes.byref(program)), "seccomp")


def keep_on_loopback(listener: int) -> None:
    """Answers one `bind`: a wildcard address becomes loopback, anything else passes untouched."""
    notice = bytearray(80)
    fcntl.ioctl(listener, NOTIF_RECV, notice)
    call_id, pid = struct.unpack_from("QI", notice)
    address, length = struct.unpack_from("QQ", notice, 40)
    with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
        memory.seek(address)
        given = memory.read(min(length, 28))
        family = struct.unpack_from("H", given)[0]
        if family == socket.AF_INET and given[4:8] == WILDCARD_4:
            memory.seek(address + 4)
            memory.write(LOOPBACK_4)
        elif family == socket.AF_INET6 and given[8:24] == WILDCARD_6:
            memory.seek(address + 8)
            memory.write(LOOPBACK_MAPPED)
    fcntl.ioctl(listener, NOTIF_SEND, struct.pack("QqiI", call_id, 0, 0, CONTINUE_THE_CALL))


def become(command: list[str], channel: socket.socket, parent: int) -> None:
    """The child: hands the listener to the parent and becomes the program."""
    checked(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "parent death signal")
    if os.getppid() != parent:
        os._exit(1)
    socket.send_fds(channel, [b"listener"], [listen_for_binds()])
    os.execvp(command[0], command)


def main(command: list[str]) -> int:
    parent = os.getpid()
    ours, theirs = socket.socketpair()
    if (child := os.fork()) == 0:
        become(command, theirs, parent)
    theirs.close()
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    signal.signal(signal.SIGINT, lambda *_: os.kill(child, signal.SIGINT))
    _, (listener, *_), _, _ = socket.recv_fds(ours, 16, 1)
    calls = select.poll()
    calls.register(listener, select.POLLIN)
    while any(event & select.POLLIN for _, event in calls.poll()):  # a hang-up alone: nobody is left who could call
        with contextlib.suppress(FileNotFoundError):  # the caller died meanwhile
            keep_on_loopback(listener)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
