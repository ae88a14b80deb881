"""Fixtures every suite shares."""

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Asyncio alone: it is what Ray Serve's replicas run."""
    return "asyncio"
