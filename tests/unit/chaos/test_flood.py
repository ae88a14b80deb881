"""What wrk and its script print is read as counts."""

from collections import Counter

from tests.chaos.flood import Flood, _counts

PRINTED = """
  1 threads and 1024 connections
  60000 requests in 1.00m, 24.69MB read
  Socket errors: connect 0, read 3, write 0, timeout 1
Requests/sec:    999.25
COUNT status 200: 50000
COUNT status 503: 9000
COUNT without Retry-After: 2
COUNT wrong: 1
"""


def test_counts() -> None:
    assert _counts(PRINTED) == {
        "status 200": 50_000,
        "status 503": 9_000,
        "without Retry-After": 2,
        "wrong": 1,
        "read": 3,
        "timeout": 1,
    }


def test_a_request_is_counted_once_and_a_wrong_answer_is_no_good_one() -> None:
    found = Flood(connections=1024, seconds=60.0, counts=_counts(PRINTED), samples={}, cores=0.1)

    assert found.offered_per_s == (50_000 + 9_000 + 3 + 1) / 60
    assert found.goodput_per_s == 49_999 / 60


def test_nothing_came_back() -> None:
    assert _counts("wrk: unable to connect") == Counter()
