"""Asking Azure's Retail Prices API, which needs no login: page by page, again when it is busy."""

from __future__ import annotations

import asyncio
import logging
import ssl
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httpx
from pydantic import ValidationError

from hybrid_hpc.errors import HybridHpcError, Refused, Unreachable, Unreadable
from hybrid_hpc.prices.retail import ADDRESS, Question, RetailItem, RetailPage

log = logging.getLogger(__name__)

TIMEOUT_S = 30.0
MOST_PAGES = 100  # of 100 items: more is a chain that never ends
API_VERSION = "2023-01-01-preview"


@dataclass(frozen=True, slots=True)
class Patience:
    """``tries`` of each page; the pause is ``pause_s``, doubled each time, at most ``most_s``."""

    tries: int = 5
    pause_s: float = 1.0
    most_s: float = 60.0

    def pause(self, tried: int, asked_for: str | None) -> float:
        """Seconds before the next try; ``asked_for`` is what the answer said in Retry-After."""
        asked_s = float(asked_for) if asked_for and asked_for.isdigit() else 0.0
        return min(max(self.pause_s * 2.0**tried, asked_s), self.most_s)


class RetailPrices:
    """A client; use it with ``async with``. Certificates are verified, redirects not followed."""

    def __init__(self, address: str = ADDRESS, patience: Patience | None = None) -> None:
        self._address = httpx.URL(address)
        self._patience = patience or Patience()
        self._client = httpx.AsyncClient(verify=ssl.create_default_context(), timeout=TIMEOUT_S)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def items(self, question: Question) -> list[RetailItem]:
        """All items of all pages. Raises `Unavailable` (`Unreachable`, `Unreadable`) or `Refused`."""
        address: httpx.URL | None = self._first(question)
        found: list[RetailItem] = []
        for _ in range(MOST_PAGES):
            if address is None:
                return found
            page = await self._page(address)
            found += page.items
            address = self._next(page)
        raise Unreadable(f"{self._address} has more than {MOST_PAGES} pages for: {question.text}")

    def _first(self, question: Question) -> httpx.URL:
        asked = {"api-version": API_VERSION, "meterRegion": "'primary'", "$filter": question.text}
        return self._address.copy_merge_params(asked)

    def _next(self, page: RetailPage) -> httpx.URL | None:
        """Never to another server, whatever the answer says."""
        if not page.next_page:
            return None
        address = httpx.URL(page.next_page)
        if (address.scheme, address.host, address.port) != _server(self._address):
            raise Unreadable(f"{self._address} names a next page on another server, {address.host}")
        return address

    async def _page(self, address: httpx.URL) -> RetailPage:
        for tried in range(self._patience.tries - 1):
            try:
                return await self._ask(address)
            except _Busy as busy:
                pause_s = self._patience.pause(tried, busy.retry_after)
                log.info("%s; again in %.0f s", busy, pause_s)
                await asyncio.sleep(pause_s)
        return await self._ask(address)

    async def _ask(self, address: httpx.URL) -> RetailPage:
        try:
            async with asyncio.timeout(TIMEOUT_S):  # httpx's own counts from byte to byte
                answer = await self._client.get(address)
        except (httpx.TransportError, TimeoutError) as error:
            raise _Busy(f"{self._address}: {error or type(error).__name__}") from error
        if not answer.is_success:
            raise _refusal(self._address, answer)
        try:
            return RetailPage.model_validate_json(answer.content)
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "the body"
            raise Unreadable(f"{self._address}: {where}: {first['msg']}") from error


class _Busy(Unreachable):
    """Nothing came, or the server asks to come later."""

    retry_after: str | None = None


def _server(address: httpx.URL) -> tuple[str, str, int | None]:
    return address.scheme, address.host, address.port


def _refusal(address: httpx.URL, answer: httpx.Response) -> HybridHpcError:
    said = f"{address} answers {answer.status_code} {answer.reason_phrase}"
    if answer.status_code not in (408, 425, 429) and answer.status_code < 500:
        return Refused(said)
    busy = _Busy(said)
    busy.retry_after = answer.headers.get("Retry-After")
    return busy
