"""Azure's prices, a row per meter, tier and day."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

KEY = ("meter", "region", "priority", "from_units", "as_of")


def upgrade() -> None:
    """Makes the table, empty: the copy in the project's files stands until hpc_prices has run."""
    op.create_table(
        "azure_prices",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("meter", "region", "priority")),
        sa.Column("from_units", sa.Float(), nullable=False),
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("usd", sa.Float(), nullable=False),
        sa.Column("approximate", sa.Boolean(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint(*KEY, name="pk_azure_prices"),
    )


def downgrade() -> None:
    """Takes it away, with its history."""
    op.drop_table("azure_prices")
