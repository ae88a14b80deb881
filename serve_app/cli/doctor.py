"""``slipway doctor``: what this machine lacks, and what to do about each."""

import typer

from cluster.doctor import Finding, examine
from deployments.intake.probe import probe_sandbox
from serve_app.cli.operator import operator_settings
from serve_app.cli.output import AsJson, emit

MARKS = {"ok": "ok", "warning": "warn", "failed": "FAIL"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(as_json: AsJson = False) -> None:
    """Look at everything the platform needs of this machine; exit code 1 if something fails."""
    settings = operator_settings()
    findings = [*examine(settings), _sandbox()]
    emit(
        {"findings": [_shown(finding) for finding in findings]},
        [f"{MARKS[found.state]:<5} {found.name:<14} {found.sentence}" for found in findings],
        as_json=as_json,
    )
    if any(finding.state == "failed" for finding in findings):
        raise typer.Exit(1)


def _sandbox() -> Finding:
    state = probe_sandbox()
    missing = [
        name
        for name, holds in (
            ("landlock", state.landlock_abi > 0),
            ("seccomp", state.seccomp),
            ("rlimits", state.rlimits),
        )
        if not holds
    ]
    if missing:
        return Finding(
            name="sandbox",
            state="warning",
            sentence=f"this kernel gives no {', '.join(missing)}: pickle and joblib are refused",
        )
    return Finding(name="sandbox", state="ok", sentence=f"landlock {state.landlock_abi}, seccomp")


def _shown(finding: Finding) -> dict[str, str]:
    return {"name": finding.name, "state": finding.state, "sentence": finding.sentence}
