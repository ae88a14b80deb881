import threading
from collections import defaultdict

from cluster.metric_batches import Batches, Steps


class Told:
    """Stands for Ray's counter."""

    def __init__(self) -> None:
        self.sums: defaultdict[tuple[str, ...], float] = defaultdict(float)
        self.calls = 0
        self.lock = threading.Lock()
        self.was_told = threading.Event()

    def __call__(self, value: float, tags: dict[str, str]) -> None:
        with self.lock:
            self.calls += 1
            self.sums[tuple(tags.values())] += value
        self.was_told.set()


def test_steps_are_passed_on_together_by_their_labels() -> None:
    told = Told()
    steps = Steps(("model", "code"), told, delay_s=3600)
    for _ in range(100):
        steps.add(1, {"model": "a", "code": "ok"})
        steps.add(2, {"code": "ok", "model": "b"})
    steps.flush()

    assert told.sums == {("a", "ok"): 100, ("b", "ok"): 200}
    assert told.calls == 2


def test_they_are_passed_on_without_being_asked() -> None:
    told = Told()
    Steps((), told, delay_s=0.001).add(3, {})

    assert told.was_told.wait(30)
    assert told.sums == {(): 3}


def test_nothing_is_lost_between_threads() -> None:
    told = Told()
    steps = Steps(("model",), told, delay_s=0.0001)

    def count() -> None:
        for _ in range(2000):
            steps.add(1, {"model": "a"})

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    steps.flush()

    assert told.sums == {("a",): 8000}


def test_observations_are_passed_on_one_by_one() -> None:
    told: list[tuple[float, dict[str, str]]] = []
    batches = Batches(("model",), lambda value, tags: told.append((value, tags)), delay_s=3600)
    for value, model in ((0.1, "a"), (0.2, "b"), (0.1, "a")):
        batches.add(value, {"model": model})
    batches.flush()

    assert told == [(0.1, {"model": "a"}), (0.1, {"model": "a"}), (0.2, {"model": "b"})]
