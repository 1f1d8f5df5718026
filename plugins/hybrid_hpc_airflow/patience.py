"""Coming again later, without using up a task's tries: what does not answer today must not fail a job."""

from __future__ import annotations

import logging
import random
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowRescheduleException

from hybrid_hpc.errors import HybridHpcError

log = logging.getLogger(__name__)

FIRST_S = 15.0
LONGEST_S = 300.0  # a thousand waiting tasks that all come at once would be an outage of their own


def come_again(context: Context, error: HybridHpcError, what: str) -> NoReturn:
    """Ends this try with the reason in the log; the task comes again, the later the longer it has waited.

    ``what`` begins the line: ``not submitted yet``. Raises AirflowRescheduleException, always.
    """
    pause_s = _pause_s(context, error)
    log.warning("%s, trying again in about %.0f s: %s", what, pause_s, error)
    again_at = datetime.now(UTC) + timedelta(seconds=pause_s)
    raise AirflowRescheduleException(again_at) from error  # type: ignore[no-untyped-call]


def _pause_s(context: Context, error: HybridHpcError) -> float:
    began_at = context["ti"].get_first_reschedule_date(context)
    waited_s = (datetime.now(UTC) - began_at).total_seconds() if began_at else 0.0
    pause_s = min(max(FIRST_S, waited_s / 2), LONGEST_S)
    least_s = float(getattr(error, "retry_after_s", 0.0))
    return max(pause_s, least_s) + random.uniform(0, pause_s / 4)  # noqa: S311  spreads them, hides nothing
