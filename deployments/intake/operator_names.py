"""What the operator decides about the intake: how large a model may be, and which own classes."""

from cluster.errors import InsecureSettings
from cluster.settings import Settings
from deployments.intake.limits import Limits


def limits_of(settings: Settings) -> Limits:
    """The intake's budgets under MAX_MODEL_BYTES."""
    return Limits(
        max_inflated_bytes=settings.max_model_bytes, max_array_bytes=settings.max_model_bytes
    )


def read_extra_names(settings: Settings) -> frozenset[str]:
    """
    The names in the operator's file; blank lines and ``#`` comments are skipped.

    Raises:
        InsecureSettings: The file cannot be read, or a line is no ``module.qualname``.
    """
    path = settings.intake_extra_names
    if path is None:
        return frozenset()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InsecureSettings(f"INTAKE_EXTRA_NAMES names {path}, which cannot be read") from error
    names = {line.partition("#")[0].strip() for line in lines} - {""}
    for name in names:
        parts = name.split(".")
        if len(parts) < 2 or not all(part.isidentifier() for part in parts):  # noqa: PLR2004
            raise InsecureSettings(f"INTAKE_EXTRA_NAMES: {name!r} is not an exact module.qualname")
    return frozenset(names)
