"""``python -m hybrid_hpc``: commands for the administrator of a site."""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from hybrid_hpc.budget_checks import examine_budgets
from hybrid_hpc.budgets import load_budgets
from hybrid_hpc.clusters import Cluster, load_clusters
from hybrid_hpc.doctor import Finding, OpenSite, examine
from hybrid_hpc.errors import Invalid

# Where connections come from: a module with an `open_site`. This package knows no Airflow.
CONNECTIONS = "hybrid_hpc_airflow.outside_tasks"
VARIABLE = "HYBRID_HPC_CONNECTIONS"

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Hybrid HPC, for administrators.",
)
console = Console(soft_wrap=True, highlight=False)


@app.callback()
def main() -> None:
    """Keeps `doctor` a command of its own while it is the only one."""


@app.command()
def doctor(
    names: Annotated[list[str] | None, typer.Argument(help="Clusters to check; left out: all.")] = None,
) -> None:
    """Checks budgets and every cluster from here to there; exit status 1 when something is not well."""
    clusters, open_site = _chosen(names or ()), _open_site()
    wells = [] if names else _examine_budgets()
    wells += [asyncio.run(_examine(cluster, open_site)) for cluster in clusters]
    raise typer.Exit(0 if all(wells) else 1)


def _chosen(names: Sequence[str]) -> list[Cluster]:
    try:
        clusters = load_clusters()
        return [clusters.cluster(name) for name in names or clusters.names]
    except Invalid as error:
        raise _end(str(error)) from error


def _examine_budgets() -> list[bool]:
    try:
        findings = list(examine_budgets(load_budgets(), load_clusters()))
    except Invalid as error:
        raise _end(str(error)) from error
    for finding in findings:
        console.print(_line(finding))
    return [finding.well for finding in findings]


def _open_site() -> OpenSite:
    module = os.environ.get(VARIABLE, CONNECTIONS)
    try:
        open_site: OpenSite = importlib.import_module(module).open_site
    except (ImportError, AttributeError) as error:
        remedy = f"put the project's plugins folder on PYTHONPATH, or name another module in {VARIABLE}"
        raise _end(f"{module} gives no connections ({error}): {remedy}.") from error
    return open_site


async def _examine(cluster: Cluster, open_site: OpenSite) -> bool:
    well = True
    async for finding in examine(cluster, open_site):
        well = well and finding.well
        console.print(_line(finding))
    return well


def _line(finding: Finding) -> Text:
    """Made of styled text, not of markup: what programs say may hold square brackets."""
    mark = ("ok  ", "green") if finding.well else ("FAIL", "red")
    said = f" {finding.cluster:<10} {finding.check:<14} {finding.found}"
    remedy = (f" => {finding.remedy}", "yellow") if finding.remedy else ""
    return Text.assemble(mark, said, remedy)


def _end(sentence: str) -> typer.Exit:
    """Tells what is wrong; the exit status is 1."""
    console.print(Text(sentence, "red"))
    return typer.Exit(1)


if __name__ == "__main__":
    app()
