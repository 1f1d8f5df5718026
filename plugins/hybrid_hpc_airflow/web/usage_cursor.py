"""Where a page of jobs ended, as a word in an address (pure)."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime

from hybrid_hpc.ledger.ended_usage import Place


def cursor_of(place: Place) -> str:
    """The word that `place_at` reads."""
    text = [each.isoformat() if isinstance(each, datetime) else each for each in place]
    return urlsafe_b64encode(json.dumps(text).encode()).decode().rstrip("=")


def place_at(cursor: str) -> Place:
    """The place again. Raises ValueError, in a sentence, for what is none."""
    try:
        text = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        ended_at, cluster, native_id, task, submitted_at = map(str, text)
        return Place(_moment(ended_at), cluster, native_id, task, _moment(submitted_at))
    except (ValueError, TypeError) as error:
        raise ValueError("'after' is no place in this list: begin again without it") from error


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
