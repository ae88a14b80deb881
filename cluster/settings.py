"""
Every setting, once; where their values come from is ``setting_sources``.

The names are a public contract, and ``docs/settings.md`` is made of this module.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

CommaList = Annotated[list[str], NoDecode]


class Settings(BaseSettings):
    """All settings; see the field docstrings for unit and effect."""

    model_config = SettingsConfigDict(
        case_sensitive=False, extra="ignore", frozen=True, use_attribute_docstrings=True
    )

    app_name: str = "Slipway"
    """Name shown by /health, /v2 and /docs."""
    version: str = "0.1.0"
    """Release shown by /health and sent to Sentry."""
    debug: bool = False
    """Details in error bodies; refused in staging and production."""
    environment: Literal["development", "staging", "production"] = "development"
    """Decides defaults and what start-up refuses."""
    host: str = "127.0.0.1"
    """Address that HAProxy binds under `slipway up`; by hand the YAML wins."""
    port: int = Field(8000, ge=1, le=65535)
    """Port that HAProxy binds under `slipway up`."""
    workers: int = Field(2, ge=1, le=64)
    """Ingress replicas under `slipway up`."""

    slipway_home: Path = Path(".slipway")
    """Directory of everything that lasts; relative paths in other settings resolve against it."""

    database_url: SecretStr | None = None
    """PostgreSQL ≥ 14; none starts the embedded server."""
    database_pool_size: int = Field(20, ge=1, le=500)
    """Connections a replica keeps; lowered to its share of the server's max_connections."""
    database_max_overflow: int = Field(10, ge=0, le=500)
    """Connections above the pool for a burst."""
    database_pool_timeout_s: float = Field(30, gt=0, le=600)
    """Seconds to wait for a connection."""
    database_pool_recycle_s: int = Field(3600, ge=1)
    """Seconds after which a connection is replaced."""

    is_database_embedded: bool = False
    """Set by `slipway up` and `slipway env` where DATABASE_URL is the embedded server's."""

    redis_url: SecretStr | None = None
    """Valkey or Redis; none starts the embedded server."""
    redis_prefix: str = Field("slipway:", min_length=1, max_length=64)
    """Every key of ours starts with it."""
    redis_cache_ttl: int = Field(3600, ge=1)
    """Most seconds a shared cache entry lives, whatever its kind asks for."""

    secret_key: SecretStr | None = None
    """Signs access and refresh tokens; at least 32 bytes outside development."""
    secret_key_previous: SecretStr | None = None
    """A key that still verifies while SECRET_KEY is rotated."""
    algorithm: Literal["HS256", "HS384", "HS512"] = "HS256"
    """Signature algorithm of tokens."""
    access_token_expire_minutes: int = Field(30, ge=1, le=24 * 60)
    """Minutes an access token lives."""
    refresh_token_expire_days: int = Field(7, ge=1, le=365)
    """Days a refresh token lives."""
    default_role: Literal["member", "publisher"] | None = None
    """Role a registration gives; unset: publisher in development, member otherwise."""
    registration_open: bool | None = None
    """Whether anyone may register; unset: only in development."""

    cors_origins: CommaList = Field(default_factory=list)
    """Exact origins, comma-separated; development adds the local ones."""
    cors_allow_credentials: bool = False
    """Whether browsers may send cookies and credentials."""
    allowed_hosts: CommaList = Field(default_factory=list)
    """Host names that are answered, comma-separated; empty in development means local names."""
    edge_token: SecretStr | None = None
    """What the edge proves itself with; without it X-Forwarded-* is ignored."""
    trusted_proxy_hops: int = Field(0, ge=0, le=8)
    """Proxies before the edge whose X-Forwarded-For entries are to be skipped."""
    docs_enabled: bool | None = None
    """Whether /docs and /openapi.json answer; unset: yes."""

    max_upload_size: int = Field(100 * 1024 * 1024, ge=1024)
    """Bytes of one uploaded file."""
    max_model_bytes: int = Field(512 * 1024 * 1024, ge=1024 * 1024)
    """Bytes a model may inflate to."""
    max_request_size: int = Field(16 * 1024 * 1024, ge=1024)
    """Bytes of a JSON body."""
    max_request_size_binary: int = Field(256 * 1024 * 1024, ge=1024)
    """Bytes of a V2 body with binary tensors."""
    max_response_size: int = Field(256 * 1024 * 1024, ge=1024)
    """Bytes of an answer."""
    max_rows: int = Field(100_000, ge=1)
    """Rows of one prediction."""
    request_timeout_s: float = Field(30, gt=0, le=3600)
    """Deadline of a request; X-Timeout-Ms may only lower it."""
    upload_dir: Path = Path("models")
    """Directory of the file artifact store."""
    artifact_store: str = ""
    """`s3://bucket/prefix` or `file://path`; empty means UPLOAD_DIR."""
    artifact_store_endpoint: str = ""
    """Endpoint of an S3-compatible store."""
    artifact_store_ca_file: Path | None = None
    """CA certificate of that endpoint."""
    artifact_store_shared: bool = False
    """States that a file store is the same directory on every node."""
    intake_extra_names: Path | None = None
    """File of exact `module.qualname` lines that the operator trusts beyond scikit-learn."""

    rate_limit_enabled: bool = True
    """Switches request limits; login limits stay."""
    default_rate_limit: int = Field(100, ge=1)
    """Requests a minute and user."""
    key_rate_limit_max: int = Field(100_000, ge=1)
    """The most a key's own limit may be over HTTP for non-admins."""
    login_rate_limit: int = Field(10, ge=1)
    """Failed logins a minute, per address and per account."""
    register_rate_limit: int = Field(20, ge=1)
    """Registrations a minute and address."""
    max_models_per_user: int = Field(1000, ge=1)
    """Models an account may own."""
    max_bytes_per_user: int = Field(20 * 1024**3, ge=1)
    """Bytes of artifacts an account may own."""
    max_keys_per_user: int = Field(100, ge=1)
    """API keys an account may hold."""
    max_concurrent_vettings_per_user: int = Field(2, ge=1)
    """Uploads of one account that one ingress replica has vetted at a time; others wait."""

    short_path_enabled: bool = True
    """Whether small compiled models are answered in the ingress."""
    short_path_cache_bytes: int = Field(64 * 1024**2, ge=1024 * 1024)
    """Memory of compiled models in one ingress replica."""
    result_cache_bytes: int = Field(32 * 1024**2, ge=0)
    """Memory of answers kept in one ingress replica, of slow models alone; 0 keeps none."""
    predictor_cache_bytes: int = Field(2 * 1024**3, ge=1024 * 1024)
    """Memory of loaded models in one Predictor."""

    sentry_dsn: SecretStr | None = None
    """Error tracking; none switches it off."""
    sentry_environment: str = ""
    """Overrides ENVIRONMENT in events."""
    otel_exporter_otlp_endpoint: str = ""
    """OTLP collector (HTTP) that spans go to; none switches tracing off. Needs `slipway[otel]`."""
    trace_sample_ratio: float = Field(0.01, ge=0, le=1)
    """Share of requests that are traced; a caller's own `traceparent` decides for theirs."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least level that is written."""
    log_file: Path = Path("logs/slipway.log")
    """JSON lines; each process adds its own suffix."""
    log_rotation: str = "500 MB"
    """Size at which a log file is rotated."""
    log_retention: str = "30 days"
    """Age at which rotated files are deleted."""

    dashboard_port: int = Field(8265, ge=1, le=65535)
    """Ray dashboard, on loopback."""
    ray_port: int = Field(6380, ge=1, le=65535)
    """Ray's GCS; not 6379, which is Redis's."""
    haproxy_stats_port: int = Field(8404, ge=1, le=65535)
    """HAProxy's statistics page."""
    haproxy_metrics_port: int = Field(9101, ge=1, le=65535)
    """HAProxy's metrics."""

    @field_validator("cors_origins", "allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        text = value.strip().removeprefix("[").removesuffix("]")
        return [item.strip().strip("\"'") for item in text.split(",") if item.strip()]

    @field_validator("database_url", mode="after")
    @classmethod
    def _normalise_driver(cls, value: SecretStr | None) -> SecretStr | None:
        # SQLAlchemy 2.1 reads a bare ``postgresql://`` as psycopg 3, which is not installed.
        if value is None:
            return None
        url = value.get_secret_value()
        for prefix in ("postgresql://", "postgres://"):
            if url.startswith(prefix):
                return SecretStr("postgresql+psycopg2://" + url.removeprefix(prefix))
        return value

    @model_validator(mode="after")
    def _resolve_paths(self) -> Self:
        home = self.slipway_home.expanduser().absolute()
        resolved: dict[str, Path] = {"slipway_home": home}
        for name in ("upload_dir", "log_file"):
            resolved[name] = home / getattr(self, name)
        for name, path in resolved.items():
            object.__setattr__(self, name, path)
        return self

    @property
    def is_hardened(self) -> bool:
        """True where insecure settings refuse to start: staging and production."""
        return self.environment != "development"

    @property
    def draining_file(self) -> Path:
        """Exists while the platform drains: an ingress that sees it answers "not ready"."""
        return self.slipway_home / "draining"

    @property
    def effective_default_role(self) -> str:
        """Role that a registration gives."""
        return self.default_role or ("member" if self.is_hardened else "publisher")

    @property
    def is_registration_open(self) -> bool:
        """Whether anyone may register."""
        return not self.is_hardened if self.registration_open is None else self.registration_open

    @property
    def effective_allowed_hosts(self) -> list[str]:
        """Host allow-list; development without one answers local names."""
        if self.allowed_hosts or self.is_hardened:
            return self.allowed_hosts
        return ["localhost", "127.0.0.1", "[::1]", "testserver"]
