"""
Token patterns: run on growing made-up texts until they prove slow or reach 10 kB.

Length grows by one while it is small, so that even an exponential pattern is caught one step
after it becomes noticeable, on any thread and without signals.
"""

import re
import time
from itertools import chain, pairwise
from typing import Any

from deployments.intake.refusals import refusal

_LONGEST = 10_000
_SHORT = 40
_SLOW_SHORT_S = 0.05
_SLOW_S = 0.5
_MAX_PATTERN = 1_000
_ENDINGS = ("!", "\n")


def check_pattern(pattern: Any) -> None:
    """
    Refuse a pattern that is no text, does not compile, or may not end.

    Raises:
        UploadRefused: gate3, reason "regex".
    """
    if type(pattern) is not str or len(pattern) > _MAX_PATTERN:
        raise _refused("is no text of a reasonable length")
    try:
        compiled = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise _refused("does not compile") from error
    for piece in _pieces(pattern):
        for ending in _ENDINGS:
            _grow(compiled, piece, ending)


def _pieces(pattern: str) -> list[str]:
    """What to repeat: common characters, those of the pattern, and its neighbours in pairs."""
    literal = [character for character in pattern if character.isalnum() or character in " -_.'"]
    pairs = [a + b for a, b in pairwise(literal)]
    return list(dict.fromkeys(chain("a0 _-", literal[:24], pairs[:24])))


def _grow(compiled: re.Pattern[str], piece: str, ending: str) -> None:
    length = 1
    while length <= _LONGEST:
        text = (piece * length)[:length] + ending
        start = time.thread_time()
        compiled.findall(text)
        spent_s = time.thread_time() - start
        # Doubling a quartic pattern's text multiplies its time by sixteen: stop well before.
        bound_s = _SLOW_SHORT_S if length < _LONGEST // 2 else _SLOW_S
        if spent_s > bound_s:
            raise _refused(f"takes {spent_s:.2f} s for {length} characters")
        length = length + 1 if length < _SHORT else length * 2
    # The whole 10 kB was passed in doubling steps.


def _refused(what: str) -> Exception:
    return refusal(
        f"gate3: the token_pattern {what}: use a pattern without nested repetition, such as "
        r"(?u)\b\w\w+\b",
        gate="gate3",
        reason="regex",
    )
