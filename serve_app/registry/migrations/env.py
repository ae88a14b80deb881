"""Alembic's entry: runs the migrations on the connection that ``registry/migrate.py`` gives."""

from alembic import context

from serve_app.registry.tables import Base

if context.is_offline_mode():
    # The SQL alone, for whoever wants to read it first.
    context.configure(dialect_name="postgresql", target_metadata=Base.metadata, literal_binds=True)
else:
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=Base.metadata,
        compare_type=True,
        compare_server_default=True,
    )
with context.begin_transaction():
    context.run_migrations()
