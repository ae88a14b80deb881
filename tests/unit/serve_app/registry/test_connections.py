"""How many connections a replica may hold."""

import pytest

from serve_app.registry.connections import PoolLimits, share


@pytest.mark.parametrize(
    ("replicas", "maximum", "expected"),
    [
        (1, 500, (20, 10)),  # room for all that the settings ask for
        (2, 97, (20, 1)),  # the overflow gives way first
        (8, 97, (5, 0)),  # then the pool
        (64, 97, (2, 0)),  # never less than one to work and one to follow changes
        (1, 5, (2, 0)),  # a server that is smaller than what is reserved
    ],
)
def test_share(replicas: int, maximum: int, expected: tuple[int, int]) -> None:
    assert share(PoolLimits(replicas=replicas), maximum) == expected


def test_shares_of_two_generations_stay_under_the_server() -> None:
    size, overflow = share(PoolLimits(size=500, overflow=500, replicas=4), 97)

    assert (size + overflow) * 4 * 2 <= 97
