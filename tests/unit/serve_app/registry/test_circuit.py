"""The circuit: open after a failure, one probe after the pause."""

from serve_app.registry.circuit import Circuit


def test_a_failure_opens_it_and_a_success_closes_it() -> None:
    now = 0.0
    circuit = Circuit(pause_s=1.0, clock=lambda: now)
    assert circuit.admit()
    circuit.fail()

    assert circuit.is_open
    assert not circuit.admit()
    now = 1.0
    assert not circuit.is_open
    assert circuit.admit()
    assert not circuit.admit()
    circuit.succeed()
    assert circuit.is_closed
    assert circuit.admit()
    assert circuit.admit()


def test_a_failed_probe_begins_a_new_pause() -> None:
    now = 0.0
    circuit = Circuit(pause_s=1.0, clock=lambda: now)
    circuit.fail()
    now = 1.0
    assert circuit.admit()
    circuit.fail()

    now = 1.9
    assert not circuit.admit()
    now = 2.0
    assert circuit.admit()
