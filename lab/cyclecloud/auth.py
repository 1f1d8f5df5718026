"""HTTP Basic, and the account that is locked after five wrong logins."""

from __future__ import annotations

import base64
import binascii
import secrets
import time
from collections.abc import Callable

from lab.cyclecloud.faults import DeclinedError

WRONG_LOGINS = 5
WITHIN_S = 60.0  # each of the other
LOCKED_S = 300.0


class Account:
    """One user. Five wrong logins, each within a minute of the one before, lock it for five minutes.

    ``clock`` gives seconds that never go back.
    """

    rejects = False  # the password was changed, and nobody here knows the new one

    def __init__(self, username: str, password: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._username, self._password = username.encode(), password.encode()
        self._clock = clock
        self._wrong = 0
        self._last_wrong_at = -WITHIN_S
        self._locked_until = 0.0

    def check(self, header: str | None) -> None:
        """Accept the right Authorization header. Raises DeclinedError 401 otherwise, and when locked."""
        right = self._is_right(header)
        if self._clock() < self._locked_until:
            raise DeclinedError(401, "This account is locked after too many failed logins; try again later")
        if not right or self.rejects:
            self._count()
            raise DeclinedError(401, "Authentication failed")
        self._wrong = 0

    def check_operator(self, header: str | None) -> None:
        """Accept the password of the configuration, locked or changed: who ends faults must get in."""
        if not self._is_right(header):
            raise DeclinedError(401, "Authentication failed")

    def unlock(self) -> None:
        """Forget wrong logins."""
        self._wrong, self._locked_until = 0, 0.0

    def _is_right(self, header: str | None) -> bool:
        username, password = _basic(header)
        if not secrets.compare_digest(username, self._username):
            raise DeclinedError(401, "Authentication required")
        return secrets.compare_digest(password, self._password)

    def _count(self) -> None:
        now = self._clock()
        self._wrong = self._wrong + 1 if now - self._last_wrong_at <= WITHIN_S else 1
        self._last_wrong_at = now
        if self._wrong >= WRONG_LOGINS:
            self._wrong, self._locked_until = 0, now + LOCKED_S


def _basic(header: str | None) -> tuple[bytes, bytes]:
    scheme, _, token = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return b"", b""
    try:
        username, _, password = base64.b64decode(token.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return b"", b""
    return username, password
