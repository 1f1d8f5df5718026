"""Azure's prices in the ledger: a row per meter, tier and day, which stays as it was written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields

from sqlalchemy import func, select

from hybrid_hpc.ledger.database import Database, insert, table
from hybrid_hpc.ledger.price_tables import AzurePrice
from hybrid_hpc.prices.table import PriceRow

PRICES = table(AzurePrice)
_COLUMNS = [PRICES.c[each.name] for each in fields(PriceRow)]
_METER = (PRICES.c.meter, PRICES.c.region, PRICES.c.priority)


class PriceQueries(Database):
    """Every method is one transaction."""

    def save_prices(self, rows: Sequence[PriceRow]) -> None:
        """Adds the rows, all or none; what is known of a day already stays."""
        if rows:
            with self._transaction() as connection:
                new = insert(connection, PRICES).on_conflict_do_nothing()
                connection.execute(new, [asdict(row) for row in rows])

    def newest_prices(self) -> list[PriceRow]:
        """Of every meter, region and priority the prices of the newest day."""
        newest = select(*_METER, func.max(PRICES.c.as_of).label("as_of")).group_by(*_METER).subquery()
        same = [PRICES.c[name] == newest.c[name] for name in ("meter", "region", "priority", "as_of")]
        statement = select(*_COLUMNS).join(newest, same[0] & same[1] & same[2] & same[3])
        with self._transaction() as connection:
            return [PriceRow(*row) for row in connection.execute(statement.order_by(*_METER))]
