"""A server of retail prices on loopback, as the API is documented: pages, and whatever else a test wants."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from hybrid_hpc.prices.table import PriceRow

DAY = date(2026, 3, 2)
Reply = tuple[int, bytes, dict[str, str]]


def item(**changes: Any) -> dict[str, Any]:
    """One item, as documented: of Standard_F16s_v2 on demand."""
    documented = {
        "currencyCode": "USD",
        "tierMinimumUnits": 0.0,
        "retailPrice": 0.677,
        "unitPrice": 0.677,
        "armRegionName": "eastus",
        "location": "US East",
        "effectiveStartDate": "2018-06-01T00:00:00Z",
        "meterId": "7c2a",
        "meterName": "F16s v2",
        "productId": "DZH318Z0BQ4W",
        "skuId": "DZH318Z0BQ4W/00HB",
        "productName": "Virtual Machines FSv2 Series",
        "skuName": "F16s v2",
        "serviceName": "Virtual Machines",
        "serviceId": "DZH313Z7MMC8",
        "serviceFamily": "Compute",
        "unitOfMeasure": "1 Hour",
        "type": "Consumption",
        "isPrimaryMeterRegion": True,
        "armSkuName": "Standard_F16s_v2",
    }
    return {**documented, **changes}


def page(items: list[dict[str, Any]], following: str | None = None) -> Reply:
    """An answer with these items, and the address of the next one."""
    envelope = {
        "BillingCurrency": "USD",
        "CustomerEntityId": "Default",
        "CustomerEntityType": "Retail",
        "Items": items,
        "NextPageLink": following,
        "Count": len(items),
    }
    return 200, json.dumps(envelope).encode(), {"Content-Type": "application/json"}


@dataclass
class PriceServer:
    """Answers what stands first in ``replies``, the last one for ever; keeps what it was asked."""

    replies: list[Reply]
    url: str = ""
    asked: list[dict[str, list[str]]] = field(default_factory=list)

    def reply(self, path: str) -> Reply:
        self.asked.append(parse_qs(urlsplit(path).query))
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@contextmanager
def price_server(*replies: Reply) -> Iterator[PriceServer]:
    """A real HTTP server, gone at the end."""
    prices = PriceServer(list(replies))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body, headers = prices.reply(self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Tests are silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    prices.url = f"http://127.0.0.1:{server.server_port}/api/retail/prices"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield prices
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def price(meter: str = "Standard_F16s_v2", usd: float = 0.677, **changes: Any) -> PriceRow:
    """A row of a table."""
    row = {
        "region": "eastus",
        "priority": "Regular",
        "unit": "hour",
        "from_units": 0.0,
        "as_of": DAY,
        "approximate": False,
        "source": "a test",
    }
    return PriceRow(meter=meter, usd=usd, **{**row, **changes})
