"""The ledger's table of Azure's prices. What comes back is `hybrid_hpc.prices.table.PriceRow`."""

from __future__ import annotations

from datetime import date

from sqlalchemy import Date
from sqlalchemy.orm import Mapped, mapped_column

from hybrid_hpc.ledger.tables import Base


class AzurePrice(Base):
    """One price of one meter on one day: a history, in which nothing is ever changed."""

    __tablename__ = "azure_prices"

    meter: Mapped[str] = mapped_column(primary_key=True)
    region: Mapped[str] = mapped_column(primary_key=True)
    priority: Mapped[str] = mapped_column(primary_key=True)
    from_units: Mapped[float] = mapped_column(primary_key=True)
    as_of: Mapped[date] = mapped_column(Date, primary_key=True)
    unit: Mapped[str]
    usd: Mapped[float]
    approximate: Mapped[bool]
    source: Mapped[str]
