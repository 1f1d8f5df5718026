"""On a real cluster each person's jobs are theirs: nobody else reads or cancels them, the service neither."""

from __future__ import annotations

import asyncio
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import asyncssh
import pytest
from asyncssh.constants import OPEN_ADMINISTRATIVELY_PROHIBITED

from hybrid_hpc.clusters import Cluster, load_clusters
from hybrid_hpc.collecting import Collected, collect
from hybrid_hpc.errors import AccessDenied, Refused
from hybrid_hpc.headnode import HeadNode
from hybrid_hpc.identity import identity_of
from hybrid_hpc.impersonation import ways
from hybrid_hpc.jobs import JobKey, JobState
from hybrid_hpc.ledger import Job, JobRow, Ledger
from hybrid_hpc.moving import leave
from hybrid_hpc.ownership import cancel
from hybrid_hpc.people import People as Mapping
from hybrid_hpc.request import read_request
from hybrid_hpc.schedulers import scheduler
from hybrid_hpc.site import Site
from hybrid_hpc.submission import submit
from hybrid_hpc.watch import ClusterWatch
from lab import people, slurm
from lab.lab import Lab
from lab.people import People
from lab.testing import on_head_node, running_lab
from tests.lab.journey import Journey, ended, started

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(bool(people.why_not()), reason=people.why_not() or "it can be shown here"),
]

WHO = "#!/bin/bash\nid -un\nid -un > who.txt\n"
WAITS = "#!/bin/bash\nid -un\nsleep 300\n"


@pytest.fixture(scope="module")
def users() -> Iterator[People]:
    with people.made() as made:
        yield made


@pytest.fixture(scope="module")
def two_people(users: People) -> Iterator[Lab]:
    """A lab with real users, of whom the service may run one program as two."""
    with running_lab("people", prepare=partial(people.install, users, cluster="onprem")) as lab:
        if lab.layout.namespaces != 2:
            pytest.skip("no overlay mounts here: sudo is not where it was built for")
        yield lab


@dataclass(frozen=True)
class Head:
    """The head node for a test: how to log in, and the cluster as clusters.yaml would have it."""

    lab: Lab
    users: People
    cluster: Cluster
    journey: Journey

    @property
    def site(self) -> Site:
        return self.journey.site

    async def submit(self, person: str, script: str, project: str | None = None) -> JobRow:
        """As a scientist of that name would."""
        fields = {"project": project} if project else {}
        request = read_request(
            {"name": "whose", "script": script, "walltime": "10", "outputs": ["*.txt"], **fields}
        )
        runs_as = identity_of(self.cluster, project=project, person=person)
        job = Job(JobKey("people", uuid.uuid4().hex), request, "onprem", "batch", person, runs_as=runs_as)
        return await submit(
            job, scheduler=self.site.scheduler, head_node=self.site.head_node, ledger=self.journey.ledger
        )

    async def run(self, person: str, script: str, project: str | None = None) -> Collected:
        row = await self.submit(person, script, project)
        await self.journey.until(row, ended, "the end of the job")
        fresh = self.journey.ledger.job(row.token)
        assert fresh
        return await collect(
            fresh, site=self.site, ledger=self.journey.ledger, results=self.journey.results / row.token
        )

    def shell(self, user: str, command: str) -> subprocess.CompletedProcess[str]:
        """A command as a user who has logged in to the head node."""
        return on_head_node(self.lab, "onprem", command, user=user)

    def queue(self, row: JobRow) -> str:
        return self.shell(
            "root", f"squeue --noheader --states=all --jobs={row.native_id} --format=%u:%T"
        ).stdout


def as_login(lab: Lab, user: str, cluster: Cluster) -> HeadNode:
    """A connection as that user; the projects' accounts are named as their connections."""
    connection = lab.connections()["hpc_onprem"]

    async def connect() -> asyncssh.SSHClientConnection:
        return await asyncssh.connect(
            connection["host"],
            connection["port"],
            username=user,
            client_keys=[connection["extra"]["key_file"]],
            known_hosts=f"{connection['host']} {connection['extra']['host_key']}".encode(),
        )

    root = f"/srv/scratch/{user}/hybrid-hpc"
    return HeadNode(
        "onprem",
        connect,
        storage_root=root,
        way_as=ways(cluster, lambda conn_id, _: as_login(lab, conn_id, cluster)),
    )


async def head_of(lab: Lab, users: People, folder: Path, **runs_as: object) -> AsyncIterator[Head]:
    plain = load_clusters(lab.folder / "clusters.yaml").cluster("onprem")
    cluster = plain.model_copy(update=runs_as)
    ledger = Ledger(f"sqlite:///{folder}/ledger.db")
    ledger.migrate()
    site = Site(cluster, scheduler("slurm"), as_login(lab, users.service, cluster))
    try:
        yield Head(lab, users, cluster, Journey(site, ledger, ClusterWatch(site, ledger), folder / "results"))
    finally:
        await site.close()
        ledger.close()


@pytest.fixture
async def head(two_people: Lab, users: People, tmp_path: Path) -> AsyncIterator[Head]:
    """``runs_as: person``."""
    table = {"ada@example.org": users.ada, "bob@example.org": users.bob}
    mapping = Mapping(accounts=table, wrapper=people.WRAPPER)
    async for head in head_of(two_people, users, tmp_path, runs_as="person", people=mapping):
        yield head


@pytest.fixture
async def by_project(two_people: Lab, users: People, tmp_path: Path) -> AsyncIterator[Head]:
    """``runs_as: project``: each project has the account of one of the two."""
    connections = {"proj-alpha": users.ada, "proj-beta": users.bob}
    async for head in head_of(two_people, users, tmp_path, runs_as="project", ssh_connections=connections):
        yield head


async def test_a_job_runs_as_the_person_who_asked_and_its_files_are_theirs_and_come_back(head: Head) -> None:
    collected = await head.run("ada@example.org", WHO)
    row = collected.row
    assert collected.succeeded, collected.failure()
    assert collected.tail.strip() == head.users.ada
    assert [path.read_text().strip() for path in collected.files] == [head.users.ada]
    assert row.run_dir == f"/srv/scratch/{head.users.ada}/hybrid-hpc/{row.token}"
    owner = head.shell("root", f"stat -c '%U %a' {row.run_dir} {row.run_dir}/script").stdout.split()
    assert owner == [head.users.ada, "700"] * 2


async def test_who_asked_stands_in_the_ledger_and_in_the_jobs_comment(head: Head) -> None:
    row = (await head.run("bob@example.org", WHO)).row
    assert (row.submitted_by, row.runs_as) == ("bob@example.org", f"person:{head.users.bob}")
    told = head.shell(
        "root", f"sacct --noheader --parsable2 --allocations --jobs={row.native_id} --format=user,comment"
    )
    assert told.stdout.strip() == f"{head.users.bob}|whose,by=bob@example.org"


async def test_one_person_cannot_cancel_or_read_the_job_of_another(head: Head) -> None:
    row = await head.submit("ada@example.org", WAITS)
    await head.journey.until(row, started, "the start of the job")
    bob, command = head.users.bob, head.site.scheduler.cancel_command(str(row.native_id), row.token)
    as_bob = head.site.head_node.acting_as(f"person:{bob}")
    with pytest.raises(Refused, match="denied"):
        head.site.scheduler.read_cancel(await as_bob.run(command))
    assert head.shell(bob, f"scancel {row.native_id}").returncode != 0
    assert head.queue(row).strip() == f"{head.users.ada}:RUNNING"
    for file in ("output.log", "script"):
        assert "Permission denied" in head.shell(bob, f"cat {row.run_dir}/{file}").stderr
    assert await as_bob.tail(f"{row.run_dir}/output.log") is None
    await _cancelled(head, row)


async def test_a_folder_that_another_has_made_first_takes_no_job_of_theirs(head: Head) -> None:
    """Else the other could exchange the script between its writing and its run."""
    ada, bob, scratch = head.users.ada, head.users.bob, "/srv/scratch"
    head.shell("root", f"mv {scratch}/{ada} {scratch}/kept && chmod 1777 {scratch}")
    try:
        assert head.shell(bob, f"mkdir -m 777 {scratch}/{ada}").returncode == 0
        with pytest.raises(AccessDenied, match=f"{scratch}/{ada} belongs to {bob}"):
            await head.submit("ada@example.org", WHO)
        assert head.shell("root", f"find {scratch}/{ada} -mindepth 1").stdout == ""
    finally:
        head.shell(
            "root", f"chmod 755 {scratch} && rm -r {scratch}/{ada} && mv {scratch}/kept {scratch}/{ada}"
        )


@pytest.mark.parametrize("place", ["", "deep/"])
async def test_a_failed_job_that_left_more_files_than_can_be_looked_through_is_settled(
    head: Head, place: str
) -> None:
    many = f"mkdir -p deep\nseq -f '{place}%g.dat' 100100 | xargs touch\nexit 200\n"
    collected = await head.run("ada@example.org", f"#!/bin/bash\n{many}")
    assert (collected.row.runs_as, collected.outcome.exit_code) == (f"person:{head.users.ada}", 200)
    fresh = head.journey.ledger.job(collected.row.token)
    assert fresh
    assert fresh.settled
    head.shell("root", f"rm -r {collected.row.run_dir}/")


async def test_their_own_wish_cancels_it(head: Head) -> None:
    row = await head.submit("ada@example.org", WAITS)
    await head.journey.until(row, started, "the start of the job")
    await _cancelled(head, row)


async def test_a_persons_job_that_waits_in_vain_leaves_and_one_that_has_begun_stays(head: Head) -> None:
    ledger, onprem = head.journey.ledger, head.lab.layout.clusters[0]
    begun = await head.submit("ada@example.org", WAITS)
    await head.journey.until(begun, started, "the start of the job")
    slurm.ask(onprem, "scontrol", "update", "PartitionName=batch", "State=DOWN")
    try:
        waiting = await head.submit("bob@example.org", WAITS)
        gone = await leave(waiting, "its partition is down", site=head.site, ledger=ledger)
        assert await leave(begun, "its partition is down", site=head.site, ledger=ledger) is None
    finally:
        slurm.ask(onprem, "scontrol", "update", "PartitionName=batch", "State=UP")
    assert gone
    assert gone.left
    assert head.queue(begun).strip() == f"{head.users.ada}:RUNNING"
    await _cancelled(head, begun)


async def _cancelled(head: Head, row: JobRow) -> None:
    ledger = head.journey.ledger
    await asyncio.to_thread(ledger.request_cancel, row.token, "ada@example.org", "no more")
    await cancel(row, scheduler=head.site.scheduler, head_node=head.site.head_node, ledger=ledger)
    collected = await collect(row, site=head.site, ledger=ledger, results=head.journey.results)
    assert collected.outcome.state is JobState.CANCELLED


@pytest.mark.parametrize(
    "command",
    [
        "sudo -n -u {ada} -- sh -c id",
        "sudo -n -u {ada} -- /usr/bin/python3 -c 1",
        "sudo -n -u root -- {wrapper} storage",
        "sudo -n -u '#0' -- {wrapper} storage",
        "sudo -n -u '#-1' -- {wrapper} storage",
        "sudo -n -u nobody -- {wrapper} storage",
        "sudo -n -u {ada} -- {wrapper} run sh -c id",
        "sudo -n -u {ada} -- {wrapper} read hh-aaaaaaaaaaaa ../../x 0 1",
        "sudo -n -u {ada} -- {wrapper} list ../.. below",
        "sudo -n -u {ada} PYTHONPATH=/tmp {wrapper} storage",
        "cat /srv/scratch/{ada}/hybrid-hpc/*/script",
    ],
)
async def test_the_account_that_airflow_logs_in_to_may_do_nothing_else(head: Head, command: str) -> None:
    await head.site.head_node.acting_as(f"person:{head.users.ada}").storage()
    words = command.format(ada=head.users.ada, wrapper=people.WRAPPER)
    done = head.shell(head.users.service, words)
    assert done.returncode != 0
    assert done.stdout == ""


async def test_it_may_not_act_as_one_who_is_not_in_the_group(head: Head) -> None:
    with pytest.raises(AccessDenied, match="cannot act as sshd"):
        await head.site.head_node.acting_as("person:sshd").storage()
    assert (
        head.shell(head.users.bob, f"sudo -n -u {head.users.ada} -- {people.WRAPPER} storage").returncode != 0
    )


async def test_a_projects_job_runs_as_its_account_and_is_collected_by_its_connection(
    by_project: Head,
) -> None:
    alpha = await by_project.run("anybody", WHO, "proj-alpha")
    beta = await by_project.run("anybody", WHO, "proj-beta")
    assert [each.tail.strip() for each in (alpha, beta)] == [by_project.users.ada, by_project.users.bob]
    assert [path.read_text().strip() for path in beta.files] == [by_project.users.bob]
    assert alpha.row.runs_as == "project:proj-alpha"


async def test_the_key_opens_no_terminal_and_forwards_nothing(two_people: Lab, users: People) -> None:
    connection = two_people.connections()["hpc_onprem"]
    async with asyncssh.connect(
        connection["host"],
        connection["port"],
        username=users.service,
        client_keys=[connection["extra"]["key_file"]],
        known_hosts=f"{connection['host']} {connection['extra']['host_key']}".encode(),
    ) as link:
        with pytest.raises(asyncssh.ChannelOpenError) as refused:
            await link.open_connection("127.0.0.1", connection["port"])
        assert refused.value.code == OPEN_ADMINISTRATIVELY_PROHIBITED
        with pytest.raises(asyncssh.ChannelOpenError):
            await link.create_process("true", term_type="vt100")
