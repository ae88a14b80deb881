"""
Health for people and machines: liveness, readiness, and each dependency with its latency.

Exempt from host list, redirect and limits; HEAD answers as GET does.  Only an admin sees more
than a word of the detail.
"""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from cluster.errors import PlatformError
from serve_app.security.principals import Principal
from serve_app.services import Services

router = APIRouter(tags=["health"])
#: A check that takes longer is a failed one.
CHECK_TIMEOUT_S = 2.0
#: Below this share of free disk the service is degraded.
LOW_DISK_SHARE = 0.10

State = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """What one look at a dependency found."""

    state: State
    latency_ms: float
    detail: str = ""

    def to_json(self) -> dict[str, object]:
        """The check as the admin sees it."""
        body: dict[str, object] = {"state": self.state, "latency_ms": round(self.latency_ms, 2)}
        return body | ({"detail": self.detail} if self.detail else {})


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


@router.head("/health", include_in_schema=False)
@router.get("/health")
async def health(request: Request) -> JSONResponse:
    """Whether this process answers, and what it is."""
    settings = _services(request).settings
    return JSONResponse({"status": "ok", "service": settings.app_name, "version": settings.version})


@router.head("/health/live", include_in_schema=False)
@router.get("/health/live")
async def live() -> JSONResponse:
    """Liveness: depends on nothing but the event loop."""
    return JSONResponse({"status": "ok"})


@router.head("/health/ready", include_in_schema=False)
@router.get("/health/ready")
async def ready(request: Request) -> JSONResponse:
    """200 when PostgreSQL and Valkey answer, else 503 with the reasons."""
    services = _services(request)
    checks = await _run({"database": services.database.ping, "cache": services.cache.ping})
    reasons = [name for name, check in checks.items() if check.state == "failed"]
    if services.is_draining:
        reasons.append("draining")
    if reasons:
        body = {"status": "unavailable", "reasons": reasons}
        return JSONResponse(body, 503, headers={"Retry-After": "2"})
    return JSONResponse({"status": "ok"})


@router.head("/health/detailed", include_in_schema=False)
@router.get("/health/detailed")
async def detailed(request: Request) -> JSONResponse:
    """Every dependency: 503 if one fails, 200 "degraded" while only the disk is short."""
    services = _services(request)
    checks = await _run(_all_checks(services))
    states = {check.state for check in checks.values()}
    status = "unavailable" if "failed" in states else "degraded" if "warning" in states else "ok"
    body: dict[str, object] = {"status": status}
    if await _is_admin(request, services):
        body["checks"] = {name: check.to_json() for name, check in checks.items()}
    if status == "unavailable":
        return JSONResponse(body, 503, headers={"Retry-After": "2"})
    return JSONResponse(body)


def _all_checks(services: Services) -> dict[str, Callable[[], Awaitable[object]]]:
    async def storage() -> str:
        status = await services.loaders.status()
        if not status.storage_ok:
            raise PlatformError("the artifact store cannot be read")
        return ""

    async def sandbox() -> str:
        state = (await services.loaders.status()).sandbox
        return "" if state.is_whole else "degraded: pickle and joblib are refused"

    async def disk() -> str:
        usage = shutil.disk_usage(services.settings.slipway_home)
        share = usage.free / usage.total
        return "" if share >= LOW_DISK_SHARE else f"{share:.0%} of the disk is free"

    return {
        "database": services.database.ping,
        "cache": services.cache.ping,
        "disk": disk,
        "storage": storage,
        "predictors": services.predictors.ping,
        "sandbox": sandbox,
    }


async def _run(looks: dict[str, Callable[[], Awaitable[object]]]) -> dict[str, Check]:
    checks = await asyncio.gather(*(_check(look) for look in looks.values()))
    return dict(zip(looks, checks, strict=True))


async def _check(look: Callable[[], Awaitable[object]]) -> Check:
    started = time.perf_counter()
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            found = await look()
    except TimeoutError:
        return Check(state="failed", latency_ms=1000 * CHECK_TIMEOUT_S, detail="no answer")
    except PlatformError as error:
        latency_ms = 1000 * (time.perf_counter() - started)
        return Check(state="failed", latency_ms=latency_ms, detail=error.message)
    warning = found if isinstance(found, str) else ""
    latency_ms = 1000 * (time.perf_counter() - started)
    return Check(state="warning" if warning else "ok", latency_ms=latency_ms, detail=warning)


async def _is_admin(request: Request, services: Services) -> bool:
    headers = request.headers
    if "authorization" not in headers and "x-api-key" not in headers:
        return False
    try:
        principal: Principal = await services.identities.identify(
            headers.get("authorization"), headers.get("x-api-key")
        )
    except PlatformError:
        return False  # a bad credential sees what the public sees
    return principal.is_admin
