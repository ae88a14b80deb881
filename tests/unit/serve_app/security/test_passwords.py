"""Passwords are hashed by Argon2id, off the loop, and an unknown user costs the same."""

import asyncio
import time

import pytest

from cluster.errors import InvalidInput, Overloaded
from serve_app.security.passwords import Passwords, check_password

pytestmark = pytest.mark.anyio


async def test_a_hash_verifies_its_password_alone() -> None:
    passwords = Passwords(memory_kib=64, passes=1)

    stored = await passwords.hash("correct horse battery")

    assert await passwords.verify(stored, "correct horse battery")
    assert not await passwords.verify(stored, "correct horse batterie")


async def test_the_parameters_are_those_of_owasp() -> None:
    stored = await Passwords().hash("correct horse battery")

    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


async def test_no_password_fits_an_unknown_user() -> None:
    passwords = Passwords(memory_kib=64, passes=1)

    assert not await passwords.verify(None, "no such user has this password")


async def test_a_stored_value_that_is_no_hash_fits_nothing() -> None:
    assert not await Passwords(memory_kib=64, passes=1).verify("x", "x")


async def test_an_unknown_user_takes_as_long_as_a_known_one() -> None:
    passwords = Passwords()
    stored = await passwords.hash("correct horse battery")
    known: list[float] = []
    unknown: list[float] = []

    for _ in range(5):
        for samples, hashed in ((known, stored), (unknown, None)):
            started = time.perf_counter()
            await passwords.verify(hashed, "a wrong password")
            samples.append(time.perf_counter() - started)

    # The shortest of each, since the machine only ever adds time.
    assert min(known) > 0.005
    assert 0.5 < min(known) / min(unknown) < 2


async def test_a_hash_of_other_parameters_is_to_be_renewed() -> None:
    stored = await Passwords(memory_kib=64, passes=1).hash("correct horse battery")

    assert Passwords().needs_rehash(stored)


async def test_more_callers_than_may_wait_are_sent_away() -> None:
    passwords = Passwords(memory_kib=64, passes=1, max_waiting=2)

    results = await asyncio.gather(
        *(passwords.hash("correct horse battery") for _ in range(5)), return_exceptions=True
    )

    refused = [result for result in results if isinstance(result, Overloaded)]
    assert len(refused) == 3
    assert all(result.retry_after_s for result in refused)


@pytest.mark.parametrize("password", ["short", "x" * 11, "x" * 129, ""])
def test_a_password_of_another_length_is_refused(password: str) -> None:
    with pytest.raises(InvalidInput, match="12 to 128"):
        check_password(password)


@pytest.mark.parametrize("password", ["x" * 12, "x" * 128, "пароль длинный", "🔑" * 12])
def test_any_characters_of_the_right_number_will_do(password: str) -> None:
    check_password(password)
