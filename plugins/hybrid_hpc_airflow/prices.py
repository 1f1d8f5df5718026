"""The task of ``hpc_prices``: today's retail prices of Azure into the ledger."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.errors import HybridHpcError

if TYPE_CHECKING:
    from datetime import date

    from hybrid_hpc.prices.refresh import Refreshed


class RefreshPricesOperator(BaseOperator):
    """Adds today's prices of the VM sizes and regions of clusters.yaml, and of the usual ones, to the ledger.

    ``address`` is that of the Retail Prices API. Raises `AirflowException` with the reason when it does not
    answer; nothing is written then.
    """

    ui_color = "#e1eef2"

    def __init__(self, *, address: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.address = address

    def execute(self, context: Context) -> int:
        """How many prices came."""
        from hybrid_hpc_airflow.connections import open_ledger

        try:
            came = asyncio.run(self._todays(datetime.now(UTC).date()))
            open_ledger().save_prices(came.rows)
        except HybridHpcError as error:
            kind = AirflowException if error.waiting_helps else AirflowFailException
            raise kind(f"no prices were brought: {error}") from error
        self._tell(came)
        return len(came.rows)

    async def _todays(self, today: date) -> Refreshed:
        from hybrid_hpc.prices.api import RetailPrices
        from hybrid_hpc.prices.refresh import todays_prices, wanted_regions, wanted_sizes
        from hybrid_hpc.prices.retail import ADDRESS

        clusters = list(load_clusters().clusters.values())
        async with RetailPrices(self.address or ADDRESS) as prices:
            return await todays_prices(prices, wanted_regions(clusters), wanted_sizes(clusters), today)

    def _tell(self, came: Refreshed) -> None:
        for row in came.rows:
            self.log.info("%s, %s, %s: %g USD per %s", row.meter, row.region, row.priority, row.usd, row.unit)
        if came.missing:
            self.log.warning("Azure tells no price of: %s", ", ".join(came.missing))
