"""What goes on beside the predictions: versions are promoted, keys are made and revoked."""

import asyncio
import itertools

import httpx
import numpy as np
from sklearn.linear_model import LinearRegression

from tests.chaos.history import History, value_of
from tests.chaos.load import MODEL, Load
from tests.system.client import PASSWORD, as_bytes

PAUSE_S = 2.0
#: A session's token holds for less than a long run.
SESSION_S = 600.0
#: Writers end before the load does, so that their last promises are tested by predictions.
PAUSE_BEFORE_END_S = 3.0


def model_file(version: int) -> bytes:
    """A model that answers ``value_of(version, x)``."""
    x = np.array([[0.0], [1.0]])
    return as_bytes(
        LinearRegression().fit(x, [value_of(version, each) for each in x[:, 0]]), "joblib"
    )


class Writer:
    """The owner of the model under test."""

    def __init__(self, http: httpx.AsyncClient, load: Load, email: str) -> None:
        self._load = load
        self._http = http
        self._history: History = load.history
        self._email = email
        self._headers: dict[str, str] = {}
        self._signed_in_until_s = 0.0
        self._keys = itertools.count()

    async def run(self) -> None:
        """Write, again and again; what is refused or lost on the way is no promise."""
        while self._load.now_s() < self._load.ends_s - PAUSE_BEFORE_END_S:
            for write in (self._sign_in, self._version, self._key):
                try:
                    await write()
                except (httpx.HTTPError, KeyError, ValueError) as error:
                    self._history.refusals[_reason(error)] += 1
            await asyncio.sleep(PAUSE_S)

    async def _sign_in(self) -> None:
        """Once in ``SESSION_S``."""
        if self._load.now_s() < self._signed_in_until_s:
            return
        body = {"email": self._email, "password": PASSWORD}
        tokens = (await self._http.post("/api/v1/auth/login", json=body)).raise_for_status().json()
        self._headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        self._signed_in_until_s = self._load.now_s() + SESSION_S

    async def _version(self) -> None:
        """One more version; promoted in a second call."""
        # The number is the registry's: after a lost answer it may be further than we know.
        listed = await self._http.get(f"/api/v1/models/{MODEL}/versions", headers=self._headers)
        wanted = max(item["version"] for item in listed.raise_for_status().json()["items"]) + 1
        answer = await self._http.post(
            f"/api/v1/models/{MODEL}/versions",
            files={"file": ("model.bin", model_file(wanted))},
            headers=self._headers,
        )
        number = int(answer.raise_for_status().json()["version"])
        self._history.uploaded.add(number)
        moved = await self._http.put(
            f"/api/v1/models/{MODEL}/aliases/production",
            json={"version": number},
            headers=self._headers,
        )
        moved.raise_for_status()
        self._history.promoted[number] = self._load.now_s()

    async def _key(self) -> None:
        """A key is made, used, revoked, and used again from then on."""
        number = next(self._keys)
        name = {"name": f"chaos-{number}"}
        made = await self._http.post("/api/v1/api-keys", json=name, headers=self._headers)
        key = made.raise_for_status().json()
        await self._load.predict(self._load.now_s(), key["key"], number)
        gone = await self._http.delete(f"/api/v1/api-keys/{key['id']}", headers=self._headers)
        gone.raise_for_status()
        self._history.revoked[number] = self._load.now_s()
        for _ in range(3):
            await self._load.predict(self._load.now_s(), key["key"], number)

    async def look_for_versions(self) -> None:
        """At the end: which acknowledged versions are there and answer rightly."""
        for version in sorted(self._history.uploaded):
            answer = await self._http.post(
                f"/api/v1/models/{MODEL}/predict",
                json={"instances": [[3.0]], "version": version},
                headers={"X-API-Key": self._load.key},
            )
            if answer.is_success and np.isclose(
                answer.json()["predictions"][0], value_of(version, 3.0)
            ):
                self._history.found.add(version)


def _reason(error: Exception) -> str:
    """Status and code where there was an answer, else what was raised."""
    if not isinstance(error, httpx.HTTPStatusError):
        return type(error).__name__
    try:
        code = error.response.json().get("code", "")
    except ValueError:
        code = "not JSON"
    return f"{error.response.status_code} {code}".strip()
