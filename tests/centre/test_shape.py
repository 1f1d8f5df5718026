"""Promises about a centre as it runs: where it listens, what runs, and that jobs end well on it."""

from __future__ import annotations

import pytest
from rich.console import Console

from lab import demo, demo_samples, workers
from lab.demo_view import View
from lab.shapes import CENTRE
from lab.stack import PORTS, Stack
from lab.testing_stack import listening, readable_files_with
from tests.centre.conftest import pid_of


def test_nothing_listens_beyond_loopback_and_beyond_its_block_of_ports(centre: Stack) -> None:
    where = listening(centre)
    assert {address for address, _ in where} == {"127.0.0.1"}
    block = range(centre.base_port, centre.base_port + PORTS)
    assert {port for _, port in where} <= {*block}
    assert {centre.base_port, centre.postgres.port, centre.redis.port} <= {port for _, port in where}


def test_there_are_two_schedulers_triggerers_and_workers_with_processes_of_their_own(centre: Stack) -> None:
    pids = {name: pid_of(centre.airflow.folder, name) for name in CENTRE.components}
    assert len(set(pids.values())) == len(pids) == 8
    assert workers.answering(centre.redis.url) == {"worker", "worker-2"}


def test_bringing_it_up_again_starts_nothing_anew(centre: Stack) -> None:
    before = {name: pid_of(centre.airflow.folder, name) for name in CENTRE.components}
    centre.up()
    assert {name: pid_of(centre.airflow.folder, name) for name in CENTRE.components} == before


def test_no_file_with_a_secret_can_be_read_by_others(centre: Stack) -> None:
    keys = centre.airflow.keys
    secrets = [*keys.passwords.values(), keys.fernet_key, keys.jwt_secret, centre.redis.url.split(":")[2]]
    assert readable_files_with(centre, [secret.partition("@")[0] for secret in secrets]) == []


@pytest.mark.long
def test_every_sample_job_ends_as_it_should(centre: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    console, samples = Console(force_terminal=False, width=200), demo_samples.load()
    with View(console) as view:
        jobs = demo.run_jobs(samples, centre, view)
    wrong = demo.show_results(jobs, centre, console)
    assert wrong == [], capsys.readouterr().out
