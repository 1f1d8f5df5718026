"""The demo's promise: every sample job, sent through the REST API, ends as it should on real clusters."""

import pytest
from rich.console import Console

from lab import demo, demo_samples
from lab.demo_view import View
from lab.stack import Stack

pytestmark = pytest.mark.e2e


@pytest.mark.timeout(900)
def test_every_sample_job_ends_as_it_should(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    console, samples = Console(force_terminal=False, width=200), demo_samples.load()
    with View(console) as view:
        jobs = demo.run_jobs(samples, stack, view)
    wrong = demo.show_results(jobs, stack, console)
    shown = capsys.readouterr().out
    assert wrong == [], shown
    assert f"All {len(samples)} jobs ended as they should." in shown
    assert "Magnetisation by temperature" in shown
