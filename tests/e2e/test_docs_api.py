"""The calls of Airflow's REST API on the pages, done as they stand there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from lab.stack import Stack
from tests.pages import PROJECT, README, blocks, page


def run(commands: str, stack: Stack) -> subprocess.CompletedProcess[str]:
    """Run a page's shell commands beside this stack instead of the demo."""
    there = commands.replace(".lab/run", str(stack.folder))
    env = os.environ | {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
    argv = ["/bin/bash", "-euo", "pipefail", "-c", there]
    return subprocess.run(
        argv, cwd=PROJECT, env=env, capture_output=True, text=True, timeout=240, check=False
    )


def test_the_call_of_the_readme_starts_a_job(stack: Stack) -> None:
    (call,) = [block for block in blocks(README, "bash") if "dagRuns" in block]
    done = run(call, stack)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["triggering_user_name"] == "scientist"


def test_the_job_of_the_page_is_followed_to_its_result_and_started_once(stack: Stack) -> None:
    start, follow, _ = blocks(page("submitting"), "bash")
    done = run(start + follow, stack)
    assert done.returncode == 0, done.stderr
    *_, decision, result = done.stdout.replace("}{", "}\n{").splitlines()
    left = json.loads(result)["value"]
    assert "starts" in json.loads(decision)["value"]["sentence"]
    assert [Path(file).read_text() for file in left["files"]] == ["3.141592\n"]
    again = run(start, stack)
    assert again.returncode == 22
    assert "409" in again.stderr


def test_the_same_in_python_tells_how_it_ended(stack: Stack) -> None:
    (client,) = [block for block in blocks(page("submitting"), "python") if "import httpx" in block]
    there = client.replace(".lab/run", str(stack.folder))
    done = subprocess.run(
        [sys.executable, "-c", there], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("success completed")
