"""The submission protocol against its rivals: random histories find their doubles, and none of ours."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from hybrid_hpc import collecting
from hybrid_hpc.jobs import JobKey
from hybrid_hpc.ledger import Job
from tests.chaos.protocol_machine import OurTries, Tries
from tests.chaos.protocol_world import (
    REQUEST,
    CountingLedger,
    Fate,
    Ours,
    RecordAfterSubmit,
    SearchThenSubmit,
    Submitting,
    World,
)

B, C, OURS = RecordAfterSubmit(), SearchThenSubmit(), Ours()
QUICK = settings(
    max_examples=200,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
LONG = settings(QUICK, max_examples=5000, stateful_step_count=60, derandomize=False, print_blob=True)

CRASHES = ("after_intent", "after_look", "after_send", "after_record")  # what all protocols have
FAULTS: tuple[Fate | str, ...] = (*(fate for fate in Fate if fate is not Fate.REFUSED), *CRASHES)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CountingLedger]:
    made = CountingLedger(f"sqlite:///{tmp_path_factory.mktemp('ledger') / 'ledger.db'}")
    yield made
    made.close()


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The accounting's lag is waited for by true time, which stands still here."""
    monkeypatch.setattr(collecting, "PATIENCE_S", -1.0)


def histories(kind: type[Tries], protocol: Submitting, ledger: CountingLedger, how: settings = QUICK) -> None:
    machine = type(kind.__name__, (kind,), {"ledger": ledger, "protocol": protocol})
    run_state_machine_as_test(machine, settings=how)


def test_no_history_runs_a_job_twice_loses_one_or_touches_a_strangers(ledger: CountingLedger) -> None:
    histories(OurTries, OURS, ledger)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_no_history_of_very_many_does_either(ledger: CountingLedger) -> None:
    histories(OurTries, OURS, ledger, LONG)


@pytest.mark.parametrize("protocol", [B, C], ids=lambda protocol: protocol.name)
def test_the_same_histories_find_the_doubles_of_other_protocols(
    ledger: CountingLedger, protocol: Submitting
) -> None:
    with pytest.raises(AssertionError, match="ran twice"):
        histories(Tries, protocol, ledger, settings(QUICK, phases=[Phase.generate]))


def executions(protocol: Submitting, ledger: CountingLedger, *faults: Fate | str) -> int:
    """How often a job ran whose tries met these faults, one after the other, and then none."""
    ledger.empty()
    world = World(ledger)
    ledger._now = world.now
    job = Job(JobKey("dag", "run"), REQUEST, "onprem", "batch")
    for fault in faults:
        fates = [fault] if isinstance(fault, Fate) else []
        dies_at = fault if isinstance(fault, str) else ""
        world.start("try", lambda link: protocol.attempt(job, link), fates=fates, dies_at=dies_at).go()
    world.start("try", lambda link: protocol.attempt(job, link)).go()
    world.pass_by(500)  # whatever is still on its way arrives
    return sum(not job.held for job in world.ours())


def test_of_all_schedules_of_two_faults_only_those_of_other_protocols_double(ledger: CountingLedger) -> None:
    """Two tries, each with any fate of its submission or a death at any point, then one without a fault."""
    schedules = list(product(FAULTS, FAULTS))
    doubled = {}
    for protocol in (B, C, OURS):
        runs = [executions(protocol, ledger, *schedule) for schedule in schedules]
        doubled[protocol] = sum(count > 1 for count in runs)
        assert min(runs) == 1, f"{protocol.name} lost a job"
        said = f"{doubled[protocol]} of {len(runs)} schedules doubled, at most {max(runs)} runs"
        print(f"{protocol.name}: {said}")  # noqa: T201  a figure to compare
    assert doubled[B] > doubled[C] > doubled[OURS] == 0


def test_a_release_after_the_cluster_was_built_anew_starts_no_strangers_job(ledger: CountingLedger) -> None:
    ledger.empty()
    world = World(ledger)
    ledger._now = world.now
    job = Job(JobKey("dag", "run"), REQUEST, "onprem", "batch")
    world.start("try", lambda link: OURS.attempt(job, link), dies_at="after_record").go()
    world.cluster.rebuild()
    world.cluster.take("somebody", ours=False, held=True)
    world.start("try", lambda link: OURS.attempt(job, link)).go()
    assert not world.cluster.strangers_hurt


def test_a_zombie_that_had_not_written_its_intent_leaves_the_newer_attempts_job_alone(
    ledger: CountingLedger,
) -> None:
    ledger.empty()
    world = World(ledger)
    ledger._now = world.now
    old, new = (
        Job(JobKey("dag", "run", generation=n), REQUEST, "onprem", "batch", attempt=f"onprem.0.{n}")
        for n in range(2)
    )
    frozen = world.start("try", lambda link: OURS.attempt(old, link))
    world.start("try", lambda link: OURS.attempt(new, link)).go()  # after the user has cleared the task
    frozen.go()
    row = ledger.attempted(new)
    assert row
    assert not row.cancel_wished
