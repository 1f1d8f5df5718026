"""One try to submit, in a process of its own that dies at a given moment. Imported before it is forked."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from hybrid_hpc import crash
from hybrid_hpc.errors import HybridHpcError
from hybrid_hpc.ledger import Job, Ledger
from hybrid_hpc.submission import Patience, submit
from lab.lab import Lab
from tests.chaos.lab_world import ONPREM, site

AGAIN = 7  # exit status: it did not work, and trying again may help


@dataclass(frozen=True)
class Try:
    """What a process is given. ``dies_after_s`` counts from the beginning of the submission."""

    lab_folder: Path
    ledger_url: str
    job: Job
    patience: Patience
    deaths: Path  # the folder of crash points
    dies_after_s: float | None = None


def attempt(what: Try) -> None:
    """What Airflow's worker does, without Airflow; ends with `AGAIN` when it has to be tried again."""
    os.environ[crash.FOLDER_VARIABLE] = str(what.deaths)
    if what.dies_after_s is not None:
        clock = threading.Timer(what.dies_after_s, os.kill, (os.getpid(), signal.SIGKILL))
        clock.daemon = True
        clock.start()
    sys.exit(asyncio.run(_attempt(what)))


async def _attempt(what: Try) -> int:
    ledger = Ledger(what.ledger_url)
    way = site(Lab(what.lab_folder), ONPREM, ledger)
    try:
        await submit(
            what.job,
            scheduler=way.scheduler,
            head_node=way.head_node,
            ledger=ledger,
            patience=what.patience,
        )
    except HybridHpcError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return AGAIN if error.waiting_helps else 1
    finally:
        await way.close()
        ledger.close()
    return 0
