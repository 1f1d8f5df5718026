"""Celery's workers, asked through their broker whether they are there."""

from __future__ import annotations

from celery import Celery

ANSWER_S = 1.0


def answering(broker_url: str) -> set[str]:
    """Give the names of the workers that answer within a second."""
    with Celery(broker=broker_url, set_as_current=False) as app:
        answers = app.control.ping(timeout=ANSWER_S)
    return {node.partition("@")[2] for answer in answers for node in answer}
