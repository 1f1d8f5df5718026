from __future__ import annotations

import asyncio
import logging
import ssl
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from hybrid_hpc.cyclecloud import CycleCloudClient, Patience
from hybrid_hpc.cyclecloud.http import checked_url
from hybrid_hpc.errors import (
    AccessDenied,
    ConnectionLost,
    HybridHpcError,
    Invalid,
    Refused,
    Shut,
    Unavailable,
    Unreachable,
    Unreadable,
)
from tests.cyclecloud_wire import NO_NODES, PASSWORD, Reply, Server, client


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (httpx.Response(401), AccessDenied),
        (httpx.Response(403, text="no"), AccessDenied),
        (httpx.Response(400, text="what?"), Refused),
        (httpx.Response(404, text="No cluster named azure"), Refused),
        (httpx.Response(409, text="invalid"), Refused),
        (httpx.Response(301, headers={"Location": "https://evil.test/"}), Refused),
        (httpx.Response(307, headers={"Location": "https://evil.test/"}), Refused),
        (httpx.Response(429), Unavailable),
        (httpx.Response(500), Unavailable),
        (httpx.Response(503), Unavailable),
        (httpx.ConnectError("connection refused"), Unreachable),
        (httpx.ConnectTimeout("late"), Unreachable),
        (httpx.ReadTimeout("late"), ConnectionLost),
        (httpx.ReadError("reset"), ConnectionLost),
        (httpx.RemoteProtocolError("cut"), ConnectionLost),
        (httpx.Response(200, text="<html>Sign in</html>"), Unreadable),
        (httpx.Response(200, text=""), Unreadable),
        (httpx.Response(200, json={"nodes": [{"Name": "no-id"}]}), Unreadable),
        (httpx.Response(200, json={"nodes": "many"}), Unreadable),
        (httpx.Response(200, json=[]), Unreadable),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else repr(value),
)
async def test_every_way_of_failing_is_an_error_of_ours(reply: Reply, error: type[HybridHpcError]) -> None:
    with pytest.raises(error) as caught:
        await client(Server(reply)).nodes()
    assert type(caught.value) is error or error is Refused
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 301])
async def test_a_no_is_never_asked_again(status: int) -> None:
    server = Server(httpx.Response(status))
    with pytest.raises(Refused):
        await client(server).nodes()
    assert len(server.requests) == 1


async def test_the_servers_words_are_in_the_error_but_not_all_of_a_long_page() -> None:
    with pytest.raises(Refused, match="No cluster named azure"):
        await client(Server(httpx.Response(404, text="No cluster\n named azure"))).nodes()
    with pytest.raises(Unavailable) as caught:
        await client(Server(httpx.Response(502, text="<p>" * 10_000))).nodes()
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    "reply", [httpx.Response(503), httpx.ReadTimeout("late"), httpx.ConnectError("down")]
)
async def test_a_question_is_asked_three_times(reply: Reply) -> None:
    server = Server(reply, reply, NO_NODES)
    assert await client(server).nodes() == ()
    assert len(server.requests) == 3
    server = Server(reply)
    with pytest.raises(Unavailable):
        await client(server).nodes()
    assert len(server.requests) == 3


def test_pauses_are_random_and_grow() -> None:
    patience = Patience(pause_s=1)
    for attempt, most in enumerate([1, 2, 4]):
        pauses = [patience.pause(attempt) for _ in range(200)]
        assert 0 <= min(pauses) < most / 2 < max(pauses) <= most


async def test_after_a_401_nothing_more_is_sent_so_that_the_account_is_not_locked() -> None:
    server = Server(httpx.Response(401, text="Authentication failed"), NO_NODES)
    denied = client(server)
    with pytest.raises(AccessDenied):
        await denied.nodes()
    for _ in range(10):
        with pytest.raises(Shut):
            await denied.nodes()
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [500, 429, 404])
async def test_an_answer_that_says_no_is_no_reason_to_keep_away(status: int) -> None:
    server = Server(httpx.Response(status))
    asking = client(server)
    for _ in range(10):
        with pytest.raises((Refused, Unavailable)):
            await asking.nodes()
    assert len(server.requests) >= 10


@pytest.mark.parametrize(
    "reply", [httpx.Response(503), httpx.ConnectError("down"), httpx.ReadTimeout("late")]
)
async def test_after_five_tries_without_an_answer_nothing_more_is_sent(reply: Reply) -> None:
    server = Server(reply)
    asking = client(server)
    for _ in range(5):
        with pytest.raises(Unavailable):
            await asking.nodes()
    assert len(server.requests) == 5


async def test_names_of_strangers_stay_inside_their_place_in_the_path() -> None:
    server = Server(httpx.Response(404))
    hostile = CycleCloudClient(
        "https://cc.test", "me", "x", "a/../b?c#d", transport=httpx.MockTransport(server)
    )
    for call in (hostile.nodes(), hostile.operation("../x?y"), hostile.scale("../z", nodes=1)):
        with pytest.raises(Refused):
            await call
    assert server.calls == [
        "GET /clusters/a%2F..%2Fb%3Fc%23d/nodes",
        "GET /operations/..%2Fx%3Fy",
        "POST /clusters/a%2F..%2Fb%3Fc%23d/scale/..%2Fz?totalNodeCount=1",
    ]


async def test_usage_is_asked_in_utc() -> None:
    server = Server(httpx.Response(200, json={"usage": []}))
    start = datetime(2026, 1, 1, tzinfo=UTC)
    await client(server).usage(start, datetime(2026, 1, 2), "daily")  # noqa: DTZ001 - a time without zone is UTC
    query = dict(server.requests[0].url.params)
    assert (query["from"], query["to"]) == ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")
    assert (query["timeframe"], query["granularity"], query["expand"]) == ("custom", "daily", "details")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "cc.test",
        "ftp://cc.test",
        "https://",
        "https://u:p@cc.test",
        "https://cc.test?x=1",
        "http://cc.test",
        "https://cc.test:port",
        "http://10.0.0.1:8080",
        "http://localhost.evil.test",
    ],
)
def test_a_url_that_would_not_do_or_would_show_the_password_is_refused(url: str) -> None:
    with pytest.raises(Invalid) as caught:
        checked_url(url)
    assert caught.value.problems[0].remedy


@pytest.mark.parametrize(
    "url",
    [
        "https://cc.test",
        "https://cc.test:8443/cc/",
        "http://127.0.0.1:8080",
        "http://localhost",
        "http://[::1]:80",
    ],
)
def test_https_anywhere_and_http_on_this_machine_will_do(url: str) -> None:
    assert not checked_url(url).endswith("/")


@pytest.mark.parametrize("content", [None, "", "not a certificate"])
def test_a_ca_file_that_is_none_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(Invalid, match=r"ca\.pem"):
        CycleCloudClient("https://cc.test", "me", "x", "azure", ca_file=path)


async def test_an_untrusted_certificate_is_access_denied_and_not_tried_again() -> None:
    server = Server(
        httpx.ConnectError(
            str(ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] self-signed"))
        )
    )
    with pytest.raises(AccessDenied, match="CA file"):
        await client(server).nodes()
    assert len(server.requests) == 1


async def test_the_password_is_in_no_log_no_repr_and_no_url(caplog: pytest.LogCaptureFixture) -> None:
    server = Server(httpx.Response(500, text="boom"))
    caplog.set_level(logging.DEBUG)
    secretive = client(server)
    with pytest.raises(Unavailable) as caught:
        await secretive.nodes()
    spoken = (
        caplog.text
        + repr(secretive)
        + repr(vars(secretive))
        + repr(caught.value)
        + str(server.requests[0].url)
    )
    token = server.requests[0].headers["Authorization"].removeprefix("Basic ")
    assert token
    assert PASSWORD not in spoken
    assert token not in spoken


async def test_a_proxy_of_the_environment_never_sees_the_login(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://proxy.evil.test:3128")
    direct = CycleCloudClient("http://127.0.0.1:1", "me", "x", "azure", patience=Patience(attempts=1))
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1"):
        await direct.nodes()
    await direct.aclose()


async def test_a_server_that_never_answers_is_given_up_after_the_time_out() -> None:
    async def silence(_: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    transport = httpx.MockTransport(silence)
    waiting = CycleCloudClient(
        "https://cc.test",
        "me",
        "x",
        "azure",
        transport=transport,
        timeout_s=0.05,
        patience=Patience(pause_s=0),
    )
    with pytest.raises(ConnectionLost, match=r"no answer within 0\.05 s"):
        await waiting.nodes()
