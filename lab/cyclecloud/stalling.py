"""Answers that never come, to requests that were carried out."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Stalling:
    """Holds the answer to a request that changed something back for ever, when ``loses_answer`` says so.

    The connection stays open until the client gives up.
    """

    def __init__(self, app: ASGIApp, loses_answer: Callable[[], bool]) -> None:
        self._app, self._loses_answer = app, loses_answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's request."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"].startswith("/lab/"):
            return await self._app(scope, receive, send)
        answer: list[Message] = []

        async def hold(message: Message) -> None:
            answer.append(message)

        await self._app(scope, receive, hold)
        if answer[0]["status"] < 300 and self._loses_answer():
            return await _gone(receive)
        for message in answer:
            await send(message)
        return None


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
