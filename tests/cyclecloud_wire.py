"""A wire to a CycleCloud server that is not there: it answers what a test says."""

from __future__ import annotations

from collections.abc import Callable

import httpx

from hybrid_hpc.cyclecloud import CycleCloudClient, Patience

PASSWORD = "s3cret-päss"
AT_ONCE = Patience(pause_s=0)
NO_NODES = httpx.Response(200, json={"nodes": []})
Reply = httpx.Response | Exception


class Server:
    """Answers in the order given, the last one for ever; keeps what it was sent."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, httpx.Response):
            return httpx.Response(reply.status_code, headers=reply.headers, content=reply.content)
        raise reply

    @property
    def calls(self) -> list[str]:
        """The requests so far, as ``METHOD path``."""
        return [f"{request.method} {request.url.raw_path.decode()}" for request in self.requests]


def client(
    server: Callable[[httpx.Request], httpx.Response], patience: Patience = AT_ONCE
) -> CycleCloudClient:
    """Give a client whose requests go to ``server``."""
    transport = httpx.MockTransport(server)
    return CycleCloudClient(
        "https://cc.test/", "me", PASSWORD, "azure", transport=transport, patience=patience
    )
