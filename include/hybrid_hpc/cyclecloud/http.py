"""One HTTP call to CycleCloud: sent, timed, and every way of failing turned into an error of ours."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from hybrid_hpc.breaker import Breaker
from hybrid_hpc.errors import (
    AccessDenied,
    ConnectionLost,
    Invalid,
    Problem,
    Refused,
    Shut,
    Unavailable,
    Unreachable,
    Unreadable,
)

AnswerT = TypeVar("AnswerT", bound=BaseModel)
TEXT_LIMIT = 500
_NOTHING_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_LATER = (408, 425, 429, 503)  # said before anything was done
_NO_WAY = (401, 403, 502, 503, 504)  # not let in, or said by what stands before CycleCloud


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a question is asked again.

    ``attempts`` of a GET in all; the pause before the next is random, up to ``pause_s``, doubled each time.
    """

    attempts: int = 3
    pause_s: float = 0.5

    def pause(self, attempt: int) -> float:
        """Give the seconds to wait after attempt number ``attempt``, counted from 0."""
        return random.uniform(0, self.pause_s * 2**attempt)  # noqa: S311 - spreads clients, hides nothing


class Http:
    """An `httpx.AsyncClient` for one server and one user. The password is in it and nowhere else."""

    def __init__(
        self,
        base_url: str,
        auth: httpx.BasicAuth,
        breaker: Breaker,
        *,
        ca_file: str | Path | None = None,
        timeout_s: float = 30,
        patience: Patience | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.base_url = checked_url(base_url)
        self._timeout_s = timeout_s
        self._patience = patience or Patience()
        self._breaker = breaker
        self._client = httpx.AsyncClient(
            base_url=self.base_url,
            auth=auth,
            verify=_trust(ca_file),
            timeout=httpx.Timeout(timeout_s, connect=timeout_s / 3),
            follow_redirects=False,
            trust_env=False,  # a proxy of the environment would get the password
            transport=transport,
            headers={"Accept": "application/json"},
        )

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> httpx.Response:
        """Ask, up to ``attempts`` times. Raises what `post` raises."""
        for attempt in range(self._patience.attempts - 1):
            try:
                return await self._send("GET", path, params=query)
            except Shut:
                raise
            except Unavailable:
                await asyncio.sleep(self._patience.pause(attempt))
        return await self._send("GET", path, params=query)

    async def post(
        self, path: str, body: Mapping[str, Any] | None = None, query: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Send once; a status below 300 is answered.

        Raises AccessDenied (401, 403, certificate), Refused (other 3xx and 4xx), Unreachable (nothing was
        sent; Shut: nor tried), Unavailable (nothing was done) and ConnectionLost (it may have been done).
        """
        return await self._send("POST", path, json=body, params=query)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        async with self._breaker.passage():
            response = await self._answer(method, path, **content)
            if response.status_code in _NO_WAY:
                raise _refusal(self.base_url, method, response)
        if not response.is_success:
            raise _refusal(self.base_url, method, response)
        return response

    async def _answer(self, method: str, path: str, **content: Any) -> httpx.Response:
        try:
            async with asyncio.timeout(self._timeout_s):  # httpx's own counts from byte to byte
                return await self._client.request(method, path, **content)
        except TimeoutError as error:
            raise ConnectionLost(f"{self.base_url}: no answer within {self._timeout_s:g} s") from error
        except httpx.RequestError as error:
            raise _failure(self.base_url, error) from error


def read(kind: type[AnswerT], response: httpx.Response) -> AnswerT:
    """Read the body of an answer. Raises Unreadable."""
    try:
        return kind.model_validate_json(response.content)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the body"
        raise Unreadable(f"CycleCloud's answer to {response.url.path}: {where}: {first['msg']}") from error


def checked_url(text: str) -> str:
    """Give the URL without a trailing slash. Raises Invalid: no HTTP(S), a password in it, HTTP to afar."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise _wrong_url(str(error), "give https://host:port") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise _wrong_url("it is no web address", "give https://host:port")
    if url.userinfo or url.query or url.fragment:
        raise _wrong_url("it holds more than host, port and path", "user and password have their own fields")
    if url.scheme == "http" and not _loopback(url.host):
        raise _wrong_url("over plain HTTP anybody on the way reads the password", "use https")
    return str(url).rstrip("/")


def _wrong_url(what: str, remedy: str) -> Invalid:
    return Invalid([Problem("CycleCloud URL", what, remedy)])


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _trust(ca_file: str | Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one too
        what = f"{ca_file} cannot be used: {error.strerror or error}"
        raise Invalid(
            [Problem("CycleCloud CA file", what, "give a PEM file with the CA's certificate")]
        ) from error


def _failure(url: str, error: httpx.RequestError) -> Exception:
    reason = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return AccessDenied(
            f"{url}: its certificate is not trusted ({reason}); give the CA file of its issuer"
        )
    if isinstance(error, _NOTHING_SENT):
        return Unreachable(f"{url}: {reason}")
    return ConnectionLost(f"{url}: {reason}")


def _refusal(url: str, method: str, response: httpx.Response) -> Exception:
    status = response.status_code
    said = f"{url} answers {status} {response.reason_phrase}: {_text(response)}".rstrip(": ")
    if status in (401, 403):
        return AccessDenied(said)
    if status in _LATER or (status >= 500 and method == "GET"):
        return Unavailable(said)
    if status >= 500:
        return ConnectionLost(f"{said}; what was asked for may have been done")
    if status < 400:
        return Refused(f"{said}; redirects are not followed, correct the URL")
    return _NotServed(said, status)


class _NotServed(Refused):
    """A 4xx with its number, for those who know a way on."""

    def __init__(self, said: str, status: int) -> None:
        super().__init__(said)
        self.status = status


def status_of(error: Refused) -> int | None:
    """Give the HTTP status behind a refusal, None when it has none."""
    return error.status if isinstance(error, _NotServed) else None


def _text(response: httpx.Response) -> str:
    return " ".join(response.text.split())[:TEXT_LIMIT]
