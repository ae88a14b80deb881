"""Ports: taken ones are seen and named, chosen ones are kept."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.ports import PortTaken, RememberedPorts, free_block, is_free, require_free


@contextmanager
def listening(address: str = "127.0.0.1") -> Iterator[int]:
    with socket.socket() as server:
        server.bind((address, 0))
        server.listen()
        yield int(server.getsockname()[1])


def test_a_port_with_a_listener_on_loopback_is_not_free() -> None:
    with listening() as port:
        assert not is_free(port)


def test_a_port_is_free_again_after_its_listener() -> None:
    with listening() as port:
        pass

    assert is_free(port)


def test_a_block_avoids_what_it_is_told() -> None:
    even = frozenset(range(17_000, 32_000, 2))

    assert free_block(1, avoid=even) % 2 == 1


def test_a_taken_port_is_refused_with_its_setting_pid_and_command() -> None:
    with listening() as port, pytest.raises(PortTaken) as refused:
        require_free({"PORT": port})

    assert f"port {port} is taken by pid {os.getpid()} (" in refused.value.message
    assert "set PORT" in refused.value.message


def test_free_ports_are_not_refused() -> None:
    require_free({"PORT": free_block(1)})


def test_a_chosen_port_is_the_same_next_time(tmp_path: Path) -> None:
    chosen = RememberedPorts(tmp_path).choose("postgres")

    assert RememberedPorts(tmp_path).choose("postgres") == chosen


def test_a_remembered_port_that_is_taken_is_replaced(tmp_path: Path) -> None:
    with listening() as port:
        (tmp_path / "ports.json").write_text(f'{{"postgres": {port}}}')

        assert RememberedPorts(tmp_path).choose("postgres") != port


def test_a_preferred_block_is_taken_when_free(tmp_path: Path) -> None:
    preferred = free_block(3)

    assert RememberedPorts(tmp_path).choose("ingress", size=3, preferred=preferred) == preferred


def test_two_names_never_share_a_port(tmp_path: Path) -> None:
    ports = RememberedPorts(tmp_path)

    assert len({ports.choose(name) for name in ("a", "b", "c", "d")}) == 4


def test_a_broken_file_costs_nothing_but_new_ports(tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text("{")

    assert RememberedPorts(tmp_path).choose("postgres") > 0
