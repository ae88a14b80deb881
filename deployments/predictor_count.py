"""
How many Predictors this process last chose among: noted by the router, read by the Ingress.

A module of its own: Serve pickles the router's by value, so that the functions which run have
globals that nobody who imports that module sees; what they import they share.
"""

_predictors = 0


def note(count: int) -> None:
    """Remember how many there were to choose from."""
    global _predictors  # noqa: PLW0603 - Serve makes the router and hands it to nobody
    _predictors = count


def known_predictors() -> int:
    """Predictors at this process's last call; 0 before the first."""
    return _predictors
