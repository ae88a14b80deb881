"""A benchmark's document as Markdown tables."""

from collections.abc import Iterable, Sequence
from typing import Any

#: What a request passes through; the rest is the platform's own life, and grows with time alone.
PATH_ROLES = {"echo": ("echo", "haproxy")}
OUR_ROLES = ("ingress", "predictor", "haproxy")


def path_us(run: dict[str, Any]) -> float:
    """CPU microseconds a request in the processes that it passes through."""
    roles = PATH_ROLES.get(run["target"], OUR_ROLES)
    return float(sum(run["cpu_us"].get(role, 0.0) for role in roles))


def table(document: dict[str, Any]) -> str:
    """Every run of the document, ours and the peers', for people."""
    parts = []
    for platform in document.get("platforms", ()):
        way = "short path" if platform["is_short_path"] else "through Predictors"
        parts.append(f"Slipway, {way}: closed loop\n\n{_closed(platform['closed'])}")
        parts.append(f"Slipway, {way}: open loop\n\n{_open(platform['open'])}")
        parts.append(_others(platform))
    parts += [
        f"{peer['name']} {peer['version']}\n\n{_closed(peer['closed'])}"
        for peer in document.get("peers", ())
    ]
    return "\n\n".join(parts)


def _closed(runs: Iterable[dict[str, Any]]) -> str:
    return _table(
        ("target", "c", "requests/s", "failed", "p50 ms", "p99 ms", "CPU µs path", "CPU µs all"),
        [
            (
                run["target"],
                run["connections"],
                f"{run['requests_per_s']:.0f}",
                run["failures"],
                f"{run['p50_ms']:.2f}",
                f"{run['p99_ms']:.2f}",
                f"{path_us(run):.0f}" if path_us(run) else "",
                f"{run['cpu_us_all']:.0f}",
            )
            for run in runs
        ],
    )


def _open(runs: Iterable[dict[str, Any]]) -> str:
    return _table(
        ("target", "requests/s", "sent", "failed", "p50 ms", "p90 ms", "p99 ms", "most ms"),
        [
            (
                run["target"],
                f"{run['rate_per_s']:.0f}",
                run["requests"],
                run["failures"],
                *(f"{run[name]:.2f}" for name in ("p50_ms", "p90_ms", "p99_ms", "most_ms")),
            )
            for run in runs
        ],
    )


def _others(platform: dict[str, Any]) -> str:
    pss_mb = {role: f"{size / 1e6:.0f} MB" for role, size in platform["pss_bytes"].items()}
    total_mb = sum(platform["pss_bytes"].values()) / 1e6
    lines = [f"start: {platform['start_s']:.1f} s", f"memory (PSS): {total_mb:.0f} MB {pss_mb}"]
    for name, seconds in platform["upload_s"].items():
        first_ms = platform["first_prediction_ms"][name]
        lines.append(f"upload of {name}: {seconds:.2f} s, then first answer in {first_ms:.0f} ms")
    return "\n".join(f"- {line}" for line in lines)


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|---" + "|--:" * (len(head) - 1) + "|"]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join(lines)


def side_by_side(document: dict[str, Any]) -> str:
    """One row a server: both models at one and at 64 connections, as requests/s and CPU µs."""
    servers = [
        ("Slipway, " + ("short path" if found["is_short_path"] else "through Predictors"), found)
        for found in document.get("platforms", ())
    ]
    servers += [(f"{peer['name']} {peer['version']}", peer) for peer in document.get("peers", ())]
    keys = [(name, count) for name in ("iris", "forest") for count in (1, 64)]
    head = ("server", *(f"{name}, c={count}: /s · p50 ms · µs" for name, count in keys))
    rows = []
    for title, found in servers:
        runs = {(run["target"], run["connections"]): run for run in found["closed"]}
        rows.append([title, *(_cell(runs.get(key)) for key in keys)])
    return _table(head, rows)


def _cell(run: dict[str, Any] | None) -> str:
    if run is None:
        return ""
    failed = f" ({run['failures']} failed)" if run["failures"] else ""
    rate, cpu_us = run["requests_per_s"], run["cpu_us_all"]
    return f"{rate:.0f} · {run['p50_ms']:.2f} · {cpu_us:.0f}{failed}"
