"""Alembic's entry: runs the migrations on the connection that ``registry/migrate.py`` gives."""

from alembic import context

from serve_app.registry.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    compare_type=True,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
