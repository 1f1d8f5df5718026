"""Alembic's entry: runs the migrations on the connection that `hybrid_hpc.ledger.migrate` gives."""

from alembic import context

from hybrid_hpc.ledger.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite cannot alter tables
)
with context.begin_transaction():
    context.run_migrations()
