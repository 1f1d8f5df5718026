"""A batch script run as Slurm would: by bash, with Slurm's variables, in a process group of its own."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from hybrid_hpc.request import JobRequest
from hybrid_hpc.schedulers.base import Submission
from hybrid_hpc.schedulers.slurm_script import batch_script

DEADLINE_S = 20.0


def request(script: str = "true\n", **fields: Any) -> JobRequest:
    values: dict[str, Any] = {"name": "demo", "script": script, **fields}
    return JobRequest.model_construct(**values)  # unchecked: the script's own checks are what is tested


class Job:
    """A run directory with the user's script in it, and a way to run the batch script as Slurm would."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.home = run_dir.parent / "home"
        self.home.mkdir(exist_ok=True)
        run_dir.mkdir(exist_ok=True)

    def batch(self, script: str, **fields: Any) -> Path:
        asked = request(script, **fields)
        user_script = self.run_dir / "script"
        user_script.write_text(asked.script)
        user_script.chmod(0o700)
        batch = self.run_dir.parent / "slurm_script"
        batch.write_text(batch_script(Submission("hh-token", asked, "batch", str(self.run_dir))))
        return batch

    def start(self, batch: Path, native_id: str = "7", task: str | None = None) -> subprocess.Popen[str]:
        environment = {"HOME": str(self.home), "PATH": os.environ["PATH"], "SLURM_JOB_ID": native_id}
        environment["HH_SLURM_BIN"] = str(self.run_dir.parent / "slurm" / "bin")
        if task is not None:
            environment |= {
                "SLURM_ARRAY_JOB_ID": native_id,
                "SLURM_ARRAY_TASK_ID": task,
                "SLURM_JOB_ID": "99",
            }
        return subprocess.Popen(
            ["/bin/bash", "-l", str(batch)],
            env=environment,
            cwd=self.run_dir,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, script: str, **fields: Any) -> tuple[int, str]:
        native_id, task = str(fields.pop("native_id", "7")), fields.pop("task", None)
        process = self.start(self.batch(script, **fields), native_id, None if task is None else str(task))
        output, _ = process.communicate(timeout=DEADLINE_S)
        return process.returncode, output

    def record(self, suffix: str = "") -> dict[str, object]:
        text = (self.run_dir / f"exit{suffix}").read_text()
        assert text.count("\n") == 1
        record: dict[str, object] = json.loads(text)
        return record
