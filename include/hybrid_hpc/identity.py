"""Who a job runs as on its cluster (pure).

An identity is a word that is kept with the job from its intent on, so that it is looked for, cancelled and
read as whoever it was sent, whatever clusters.yaml says by then: '' is the cluster's own account (``runs_as:
service``), ``project:proj-alpha`` that of a project's connection, ``person:ada`` the account *ada*.
"""

from __future__ import annotations

from hybrid_hpc.clusters import Cluster
from hybrid_hpc.errors import InvalidRequest, Problem, Refused
from hybrid_hpc.problems import shown

SERVICE = ""
_PROJECT = "project:"
_PERSON = "person:"
_NO_PROJECT = "Name a project that has a connection on this cluster, or choose another cluster."
_NO_ACCOUNT = "Have an administrator add this name to `people` in clusters.yaml, or choose another cluster."


def identity_of(cluster: Cluster, *, project: str | None, person: str) -> str:
    """Who a job of this project runs as that this Airflow user has asked for.

    Raises `InvalidRequest`, naming the field, when that is nobody: then nothing may be sent.
    """
    if cluster.runs_as == "project":
        if project is None or project not in cluster.ssh_connections:
            named = f"{shown(project)} has no connection there" if project else "none is named"
            what = f"{cluster.name} runs each job as its project, and {named}"
            raise InvalidRequest([Problem("project", what, _NO_PROJECT)])
        return f"{_PROJECT}{project}"
    if cluster.runs_as == "person":
        account = account_of(cluster, person)
        if account is None:
            raise InvalidRequest([Problem("cluster", stranger(cluster, person), _NO_ACCOUNT)])
        return f"{_PERSON}{account}"
    return SERVICE


def named_identities(cluster: Cluster) -> tuple[str, ...]:
    """Every identity that clusters.yaml names there; those that a rule makes are not known."""
    if cluster.runs_as == "project":
        return tuple(f"{_PROJECT}{project}" for project in cluster.ssh_connections)
    accounts = cluster.people.accounts.values() if cluster.people else ()
    return tuple(sorted({f"{_PERSON}{account}" for account in accounts}))


def kept_tables(cluster: Cluster) -> tuple[str, ...]:
    """The tables in clusters.yaml that no new job is sent by: only those sent before need them."""
    there = {"ssh_connections": ("project", cluster.ssh_connections), "people": ("person", cluster.people)}
    return tuple(name for name, (mode, table) in there.items() if table and mode != cluster.runs_as)


def account_of(cluster: Cluster, person: str) -> str | None:
    """The account of an Airflow user there; None for one who has none."""
    return cluster.people.account_of(person) if cluster.people else None


def stranger(cluster: Cluster, person: str) -> str:
    """Why a cluster whose jobs run as the person takes none from this one; '' when it does."""
    if cluster.runs_as != "person" or account_of(cluster, person):
        return ""
    return f"{cluster.name} runs each job as the person who asked, and {shown(person)} has no account there"


def person_in(identity: str) -> str:
    """The account of a person's identity; '' for any other."""
    return identity.removeprefix(_PERSON) if identity.startswith(_PERSON) else ""


def project_in(identity: str) -> str:
    """The project of a project's identity; '' for any other."""
    return identity.removeprefix(_PROJECT) if identity.startswith(_PROJECT) else ""


def connection_of(cluster: Cluster, project: str) -> str:
    """The SSH connection of a project.

    Raises `Refused` for one whose connection was taken out of clusters.yaml.
    """
    if project not in cluster.ssh_connections:
        why = f"{cluster.name}: a job runs as project {project!r}, which has no connection any more"
        raise Refused(f"{why}; put it back into ssh_connections of clusters.yaml until its jobs have ended")
    return cluster.ssh_connections[project]
