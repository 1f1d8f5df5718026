"""`make demo`: brings everything up, sends the sample jobs on their way and shows what becomes of them.

Environment: ONCE=1 stops everything after the jobs, FRESH=1 forgets all earlier runs first, BASE_PORT=N
sets the ports. ``python -m lab.demo down`` stops what runs, or what a crashed demo left.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx
from rich.console import Console
from rich.rule import Rule

from hybrid_hpc.errors import HybridHpcError
from hybrid_hpc.ledger import Ledger
from lab import demo_samples, owner
from lab.demo_check import points, problems
from lab.demo_jobs import Collected, DemoJob, DemoJobs, collected
from lab.demo_samples import Sample
from lab.demo_view import View, bars
from lab.errors import LabError
from lab.stack import Stack

LOOK_AFTER_S = 5.0
OUTPUT_LINES = 12


def main() -> int:
    """Run the demo, or ``down``; gives the exit status."""
    console, stack = Console(), Stack()
    if sys.argv[1:] == ["down"]:
        return _down(stack, console)
    try:
        with owner.only_one(stack.folder), owner.interruptible(), _stopping(stack, console):
            return _demo(stack, console)
    except (LabError, HybridHpcError, httpx.HTTPError) as error:
        _say(f"make demo: {error}", console, "red")
        return 1
    except KeyboardInterrupt:
        return 130


def _demo(stack: Stack, console: Console) -> int:
    samples = demo_samples.load()
    with View(console) as view:
        if os.environ.get("FRESH"):
            view.step("forgetting all earlier runs")
            stack.down()
            stack.forget()
        stack.up(view.step)
        view.step(f"Airflow is at {stack.airflow.url}; the jobs are on their way")
        jobs = run_jobs(samples, stack, view)
    wrong = show_results(jobs, stack, console)
    if not os.environ.get("ONCE"):
        _stay(stack, console)
    return 1 if wrong else 0


def run_jobs(samples: Sequence[Sample], stack: Stack, view: View) -> list[DemoJob]:
    """Send the samples on their way as the scientist and show them until the last one has ended."""
    jobs: list[DemoJob] = []
    airflow, ledger = stack.airflow, Ledger(stack.ledger_url)
    api = airflow.api("scientist")
    try:
        for jobs in DemoJobs(samples, api, ledger).watch(airflow.revive):
            view.jobs(jobs)
    finally:
        api.close()
        ledger.close()
    return jobs


def show_results(jobs: Sequence[DemoJob], stack: Stack, console: Console) -> list[str]:
    """Print what every job left; gives what is not as it should be, in sentences."""
    api, wrong = stack.airflow.api("scientist"), list[str]()
    for job in jobs:
        left = collected(job, api, stack.results)
        _show_job(job, left, console)
        wrong += problems(job, left)
    api.close()
    console.print(Rule())
    for problem in wrong:
        _say(problem, console, "red")
    if not wrong:
        _say(f"All {len(jobs)} jobs ended as they should.", console, "green")
    return wrong


def _show_job(job: DemoJob, left: Collected, console: Console) -> None:
    console.print(Rule(job.sample.title, align="left"))
    lines = [job.sample.shows]
    lines += [f"Placed: {job.decision.sentence}"] if job.decision else []
    lines += [f"Ended:  {job.row.sentence}"] if job.row and job.row.sentence else []
    lines += [f"    {line}" for line in left.output.splitlines()[-OUTPUT_LINES:]]
    for line in lines:
        _say(line, console)
    if job.sample.chart:
        console.print(bars(job.sample.chart, points(job.sample.chart, left.files)))


def _say(line: str, console: Console, style: str = "") -> None:
    """Print a line as it is: what a cluster says may hold brackets."""
    console.print(line, markup=False, highlight=False, soft_wrap=True, style=style)


def _stay(stack: Stack, console: Console) -> None:
    """Keep everything up, start again what dies, until Ctrl-C."""
    airflow = stack.airflow
    _say(f"\nAirflow: {airflow.url}", console)
    for user, password in airflow.keys.passwords.items():
        _say(f"    user {user:<10} password {password}", console)
    _say("Ctrl-C stops everything.", console)
    try:
        while True:
            time.sleep(LOOK_AFTER_S)
            if airflow.revive():
                _say("Airflow had died and was started again.", console)
    except KeyboardInterrupt:
        return


@contextmanager
def _stopping(stack: Stack, console: Console) -> Iterator[None]:
    """Stop everything at the end, whatever the end is."""
    try:
        yield
    finally:
        with owner.undisturbed():
            _say("Stopping everything.", console)
            stack.down()


def _down(stack: Stack, console: Console) -> int:
    try:
        owner.ask_to_end(stack.folder)
        stack.down()
    except LabError as error:
        _say(f"make down: {error}", console, "red")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
