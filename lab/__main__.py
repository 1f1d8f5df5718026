"""The lab from a terminal: ``python -m lab up|down|status|ssh|doctor``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lab import cloud, processes, slurm, ssh, start
from lab.airflow_settings import DROPPED
from lab.errors import LabError
from lab.lab import Lab
from lab.layout import PROJECT, ClusterLayout, Layout
from lab.settings import ClusterName, LabSettings, Scaling
from lab.steps import Steps

app = typer.Typer(
    help="Two real Slurm clusters and a CycleCloud server on this machine.", no_args_is_help=True
)
console = Console()

Folder = Annotated[Path, typer.Option(help="Where the running lab keeps what it writes.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Forget jobs, accounting and keys.")]
HERE = PROJECT / ".lab" / "run" / "lab"  # where the whole stack has it too (lab/stack.py)


@app.command()
def up(
    folder: Folder = HERE,
    scaling: Annotated[Scaling, typer.Option(help="Who asks CycleCloud for azure's nodes.")] = "cyclecloud",
    boot_s: Annotated[float, typer.Option(min=0, help="Seconds that a VM takes to boot.")] = 3.0,
    only: Annotated[ClusterName | None, typer.Option(help="The one cluster to bring up.")] = None,
    fresh: Fresh = False,
) -> None:
    """Bring the lab up; BASE_PORT in the environment chooses its ports."""
    lab = Lab(folder, LabSettings(only=only, scaling=scaling, boot_s=boot_s))
    with _in_one_sentence():
        if fresh:
            lab.down(fresh=True)
        with Steps(console) as progress:
            layout = lab.up(progress)
    config = ssh.ssh_folder(layout) / "config"
    for cluster in layout.clusters:
        console.print(f"{cluster.name}: ssh -F {config} {cluster.name}", soft_wrap=True, highlight=False)


@app.command()
def down(folder: Folder = HERE, fresh: Fresh = False) -> None:
    """End every process of the lab."""
    with _in_one_sentence(), Steps(console) as progress:
        progress("ending the lab")
        Lab(folder).down(fresh=fresh)


@app.command()
def status(folder: Folder = HERE) -> None:
    """Show what runs; the exit status is 0 when all of it does."""
    with _in_one_sentence():
        layout = Lab(folder).layout
    missing = [name for name in start.expected(layout) if not processes.alive(layout.folder, name)]
    for cluster in layout.clusters:
        console.print(_nodes(cluster))
    console.print(_summary(layout, missing))
    raise typer.Exit(1 if missing else 0)


@app.command("ssh", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def open_ssh(
    cluster: Annotated[str, typer.Argument(help="onprem or azure")],
    command: Annotated[list[str] | None, typer.Argument(help="What to run there; nothing: a shell.")] = None,
    folder: Folder = HERE,
) -> None:
    """Run a command on a cluster's head node, as `ssh` does."""
    with _in_one_sentence():
        layout = Lab(folder).layout
        names = [each.name for each in layout.clusters]
        if cluster not in names:
            raise LabError(f"there is no cluster {cluster}; this lab has {' and '.join(names)}.")
    argv = ["ssh", "-F", str(ssh.ssh_folder(layout) / "config"), cluster, *(command or [])]
    os.execvp("ssh", argv)  # noqa: S606, S607 - ssh takes this process's place and terminal


@app.command()
def doctor(folder: Folder = HERE) -> None:
    """Check both clusters from here to there, as `python -m hybrid_hpc doctor` does at a real site."""
    with _in_one_sentence():
        ways = Lab(folder).environment()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(DROPPED)}
    code = os.pathsep.join(str(PROJECT / name) for name in ("include", "plugins"))
    env = {**inherited, **ways, "AIRFLOW_HOME": str(folder.resolve() / "airflow"), "PYTHONPATH": code}
    os.execve(sys.executable, [sys.executable, "-m", "hybrid_hpc", "doctor"], env)  # noqa: S606 - no shell


def _nodes(cluster: ClusterLayout) -> Table:
    table = Table("partition", "nodes", "state", "how many", title=cluster.name, title_justify="left")
    try:
        lines = slurm.ask(cluster, "sinfo", "-h", "-o", "%P|%N|%T|%D").splitlines()
    except LabError as error:
        lines = [f"-|-|{error}|-"]
    for line in lines:
        table.add_row(*line.split("|"))
    return table


def _summary(layout: Layout, missing: list[str]) -> str:
    if missing:
        return f"[red]not running:[/] {', '.join(missing)}; `python -m lab up` starts them."
    if layout.elastic is None:
        return "all runs."
    return f"all runs; azure scales by {layout.settings.scaling}, CycleCloud is {cloud.url(layout)}"


@contextmanager
def _in_one_sentence() -> Iterator[None]:
    try:
        yield
    except LabError as error:
        console.print(f"[red]lab:[/] {escape(str(error))}", soft_wrap=True, highlight=False)
        sys.exit(1)


if __name__ == "__main__":
    app()
