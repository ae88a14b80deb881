"""The seccomp program by interpretation, for machines that this one is not; frames on a pipe."""

import os
import struct

import pytest

from deployments.intake.lockdown import bpf_program
from deployments.intake.protocol import (
    BrokenFrame,
    json_frame,
    parse_object,
    read_frame,
    split_frames,
    write_all,
)
from deployments.intake.syscalls import AUDIT_ARCH, DENIED, PRLIMIT64

ALLOW, KILL, EPERM = 0x7FFF0000, 0x80000000, 0x00050001
#: read, write, exit_group, mmap: what every child needs.
NEEDED = {"x86_64": (0, 1, 231, 9), "aarch64": (63, 64, 94, 222)}


def _verdict(machine: str, number: int, *, arch: int | None = None, third: int = 0) -> int:
    """What the kernel would answer: the four instructions of our filters, interpreted."""
    program = [*struct.iter_unpack("=HBBI", bpf_program(machine))]
    data = struct.pack("=IIQ6Q", number, arch or AUDIT_ARCH[machine], 0, 0, 0, third, 0, 0, 0)
    position, accumulator = 0, 0
    while True:
        code, if_true, if_false, value = program[position]
        position += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif code == 0x06:
            return int(value)
        else:
            is_met = accumulator == value if code == 0x15 else accumulator >= value
            position += if_true if is_met else if_false


@pytest.mark.parametrize("machine", sorted(DENIED))
def test_every_denied_call_gets_eperm(machine: str) -> None:
    verdicts = {name: _verdict(machine, number) for name, number in DENIED[machine].items()}

    assert set(verdicts.values()) == {EPERM}


@pytest.mark.parametrize("machine", sorted(DENIED))
def test_what_a_child_needs_is_allowed(machine: str) -> None:
    assert {_verdict(machine, number) for number in NEEDED[machine]} == {ALLOW}


@pytest.mark.parametrize("machine", sorted(DENIED))
def test_limits_may_be_read_and_not_set(machine: str) -> None:
    number = PRLIMIT64[machine]

    assert _verdict(machine, number) == ALLOW
    assert _verdict(machine, number, third=0x7FFF_0000_1000) == EPERM
    assert _verdict(machine, number, third=1 << 40) == EPERM


@pytest.mark.parametrize(
    ("machine", "number", "arch"),
    [
        ("x86_64", 11, 0x40000003),  # execve of the 32-bit table
        ("x86_64", 0x40000000 | 59, AUDIT_ARCH["x86_64"]),  # x32
        ("aarch64", 11, 0x40000028),  # 32-bit ARM
    ],
)
def test_a_foreign_table_of_calls_kills(machine: str, number: int, arch: int) -> None:
    assert _verdict(machine, number, arch=arch) == KILL


def test_each_machine_denies_the_dangerous_ones() -> None:
    names = {"clone", "clone3", "execve", "execveat", "socket", "connect", "kill", "ptrace"}
    names |= {"unshare", "setns", "mount", "bpf", "io_uring_setup", "keyctl", "memfd_create"}

    assert all(names <= set(DENIED[machine]) for machine in DENIED)


def _through_a_pipe(content: bytes, max_bytes: int = 100) -> bytes | None:
    reading, writing = os.pipe()
    try:
        write_all(writing, content)
        os.close(writing)
        return read_frame(reading, max_bytes=max_bytes)
    finally:
        os.close(reading)


def test_a_frame_comes_back() -> None:
    sent = json_frame({"a": [1, "é"]})

    for received in (_through_a_pipe(sent), *split_frames(sent + sent, max_bytes=100)):
        assert received is not None
        assert parse_object(received) == {"a": [1, "é"]}
    assert _through_a_pipe(b"") is None
    assert split_frames(b"", max_bytes=1) == []


@pytest.mark.parametrize(
    "content",
    [
        b"\x01",  # no whole length
        b"\x05\0\0\0\0\0\0\0ab",  # cut off
        b"\xff" * 16,  # announces 2**64 - 1
        b"\x65\0\0\0\0\0\0\0" + b"x" * 101,  # one byte too many
    ],
)
def test_a_broken_frame_is_refused(content: bytes) -> None:
    with pytest.raises(BrokenFrame):
        _through_a_pipe(content)
    with pytest.raises(BrokenFrame):
        split_frames(content, max_bytes=100)


@pytest.mark.parametrize("content", [b"", b"[]", b"3", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_object_is_refused(content: bytes) -> None:
    with pytest.raises(BrokenFrame):
        parse_object(content)


def test_json_has_no_nan() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_frame({"x": float("nan")})
