"""Versions, promotion and rollback under load; revocation holds from the moment it returns."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import numpy as np
from sklearn.dummy import DummyRegressor

from tests.system.client import ApiUser, as_bytes
from tests.system.platform import Platform


def constant(value: float) -> bytes:
    """A model that always answers ``value``."""
    model = DummyRegressor(strategy="constant", constant=value)
    return as_bytes(model.fit(np.zeros((2, 1)), [0.0, 1.0]), "joblib")


@contextmanager
def predicting(user: ApiUser, url: str) -> Iterator[list[httpx.Response]]:
    """A client that predicts without pause until the block ends."""
    answers: list[httpx.Response] = []
    ended = threading.Event()

    def loop() -> None:
        with httpx.Client(base_url=url, timeout=30) as http:
            while not ended.is_set():
                answers.append(
                    http.post(
                        "/api/v1/models/constant/predict",
                        json={"instances": [[0.0]]},
                        headers={"X-API-Key": user.key},
                    )
                )

    threads = [threading.Thread(target=loop) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def move_production(user: ApiUser, version: int) -> None:
    user.http.put(
        "/api/v1/models/constant/aliases/production",
        json={"version": version},
        headers=user.headers,
    ).raise_for_status()


def test_no_call_fails_while_the_alias_moves(platform: Platform, user: ApiUser) -> None:
    user.upload("constant", constant(1.0)).raise_for_status()
    user.upload_version("constant", constant(2.0)).raise_for_status()
    assert user.predict("constant", [[0.0]], version=2).json()["predictions"] == [2.0]
    assert user.predict("constant", [[0.0]]).json()["version"] == 1

    with predicting(user, platform.url) as answers:
        for version in (2, 1, 2, 1, 2):
            move_production(user, version)
            # From the moment the call returns, every replica answers by the new version.
            for _ in range(20):
                assert user.predict("constant", [[0.0]]).json()["version"] == version

    assert len(answers) > 50
    assert {answer.status_code for answer in answers} == {httpx.codes.OK}
    assert all(a.json()["predictions"] == [float(a.json()["version"])] for a in answers)


def test_a_revoked_key_is_refused_at_once_on_every_replica(
    platform: Platform, user: ApiUser
) -> None:
    user.upload("constant", constant(1.0)).raise_for_status()
    made = user.http.post("/api/v1/api-keys", json={"name": "short"}, headers=user.headers).json()
    headers = {"X-API-Key": made["key"]}
    body = {"instances": [[0.0]]}
    with httpx.Client(base_url=platform.url) as http:
        path = "/api/v1/models/constant/predict"
        warm = [http.post(path, json=body, headers=headers) for _ in range(20)]

        revoked = user.http.delete(f"/api/v1/api-keys/{made['id']}", headers=user.headers)
        after = [http.post(path, json=body, headers=headers) for _ in range(20)]

    assert {answer.status_code for answer in warm} == {200}
    assert revoked.status_code == 204
    assert {answer.status_code for answer in after} == {401}


def test_rollback_on_the_command_line_returns_to_the_previous_version(
    platform: Platform, user: ApiUser
) -> None:
    user.upload("constant", constant(1.0)).raise_for_status()
    user.upload_version("constant", constant(2.0), promote="true").raise_for_status()

    rolled = platform.run("models", "--as", user.email, "rollback", "constant", "--json")

    assert rolled.returncode == 0, rolled.stderr
    assert user.predict("constant", [[0.0]]).json()["version"] == 1
