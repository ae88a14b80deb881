"""What ``args`` in serve_config.yaml may hold; Ray validates the YAML against it."""

from pydantic import BaseModel, ConfigDict, Field

from cluster.settings import Settings


class DeployArgs(BaseModel):
    """
    Tuning that wins over the environment where it is given.

    A plain model on purpose: a BaseSettings would read the environment inside Serve's builder, and
    its pickle, secrets in clear, would lie in Serve's stored state.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    short_path_enabled: bool | None = None
    """Whether small compiled models are answered in the ingress."""
    request_timeout_s: float | None = Field(None, gt=0, le=3600)
    """Deadline of a request; keep it at or under http_options.request_timeout_s."""
    predictor_cache_bytes: int | None = Field(None, ge=1024 * 1024)
    """Memory of loaded models in one Predictor."""
    predictor_lanes: int = Field(4, ge=1, le=64)
    """Batches a Predictor works on at a time; equal to its max_ongoing_requests."""
    coalesce_max_rows: int = Field(4096, ge=1)
    """Rows that travel in one RPC at most, a single larger request apart."""

    def applied_to(self, settings: Settings) -> Settings:
        """The settings with what the YAML says put over them."""
        overridden = ("short_path_enabled", "request_timeout_s", "predictor_cache_bytes")
        given = {name: value for name in overridden if (value := getattr(self, name)) is not None}
        return settings.model_copy(update=given)
