from serve_app.row_costs import RowCosts
from tests.unit.serve_app.predicting import version_ref

VERSION = version_ref()


def most_rows(costs: RowCosts, *, one_row_s: float, within_s: float = 1.0) -> int | None:
    return costs.most_rows(VERSION, "predict", one_row_s=one_row_s, within_s=within_s)


def test_a_call_that_is_all_overhead_limits_nothing() -> None:
    assert most_rows(RowCosts(), one_row_s=0.005) is None
    assert most_rows(RowCosts(), one_row_s=0.0) is None


def test_a_row_dearer_than_any_overhead_counts_from_the_start() -> None:
    assert most_rows(RowCosts(), one_row_s=0.25) == 4
    assert most_rows(RowCosts(), one_row_s=3.0) == 1


def test_a_batch_that_was_seen_tells_the_cost_of_a_row() -> None:
    costs = RowCosts()
    costs.note(VERSION, "predict", rows=101, seconds=0.105)

    assert most_rows(costs, one_row_s=0.005) == 996  # a millisecond a row after the first
    assert costs.most_rows(VERSION, "transform", one_row_s=0.005, within_s=1.0) is None


def test_small_batches_say_nothing_of_large_ones() -> None:
    costs = RowCosts()
    costs.note(VERSION, "predict", rows=7, seconds=5.0)
    assert most_rows(costs, one_row_s=0.005) is None

    costs.note(VERSION, "predict", rows=1000, seconds=0.005)
    costs.note(VERSION, "predict", rows=10, seconds=5.0)
    assert most_rows(costs, one_row_s=0.005) is None


def test_a_newer_batch_of_like_size_replaces_the_older() -> None:
    costs = RowCosts()
    costs.note(VERSION, "predict", rows=1000, seconds=500.0)
    costs.note(VERSION, "predict", rows=501, seconds=0.505)

    assert most_rows(costs, one_row_s=0.005) == 996
