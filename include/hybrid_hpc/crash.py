"""Named points at which a test kills a process, to prove that nothing is lost or done twice there.

Outside such a test `at` does nothing. In one, the environment names a folder; a file in it, called like the
point, or ``<whose>.<point>``, is a death for one process: whoever takes it away dies.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

FOLDER_VARIABLE = "HYBRID_HPC_CRASH_FOLDER"


def at(point: str, whose: str = "") -> None:
    """Ends this process with SIGKILL, as a lost machine would, when a death waits for it here.

    ``whose``: the run (or token) for which the process works, so that one of many may be hit.
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder and any(_taken(Path(folder) / name) for name in _names(point, whose)):
        os.kill(os.getpid(), signal.SIGKILL)


def _names(point: str, whose: str) -> list[str]:
    return [point, f"{whose}.{point}"] if whose else [point]


def _taken(file: Path) -> bool:
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    return True
