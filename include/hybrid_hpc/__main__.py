"""``python -m hybrid_hpc``: commands for the administrator of a site."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from hybrid_hpc.budget_checks import examine_budgets
from hybrid_hpc.budgets import load_budgets
from hybrid_hpc.cluster_template import template_of
from hybrid_hpc.clusters import Cluster, load_clusters
from hybrid_hpc.command_connections import connections_give
from hybrid_hpc.doctor import Finding, OpenSite, examine
from hybrid_hpc.doctor_prices import price_findings
from hybrid_hpc.errors import HybridHpcError, Invalid, Refused
from hybrid_hpc.ledger.database import utc_now
from hybrid_hpc.prices.command import estimate_command
from hybrid_hpc.prices.current import current_prices
from hybrid_hpc.prices.table import PriceTable
from hybrid_hpc.usage.export_command import focus_command

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Hybrid HPC, for administrators.",
)
console = Console(soft_wrap=True, highlight=False)
app.command("estimate")(estimate_command)
app.command("focus")(focus_command)


@app.command()
def doctor(
    names: Annotated[list[str] | None, typer.Argument(help="Clusters to check; left out: all.")] = None,
) -> None:
    """Checks budgets and every cluster from here to there; exit status 1 when something is not well."""
    clusters, open_site = _chosen(names or ()), _open_site()
    wells = [] if names else _examine_budgets()
    wells += [asyncio.run(_examine(cluster, open_site)) for cluster in clusters]
    _compare_prices(clusters)
    raise typer.Exit(0 if all(wells) else 1)


@app.command()
def template(name: Annotated[str, typer.Argument(help="An elastic cluster of clusters.yaml.")]) -> None:
    """Prints the CycleCloud cluster template that makes the cluster as clusters.yaml describes it."""
    (cluster,) = _chosen([name])
    try:
        typer.echo(template_of(cluster), nl=False)
    except Refused as error:
        raise _end(str(error)) from error


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
    try:
        open_site: OpenSite = connections_give("open_site")
    except Refused as error:
        raise _end(str(error)) from error
    return open_site


def _prices() -> PriceTable:
    """Without a ledger that answers the shipped ones: of the ledger itself the checks have told."""
    try:
        return current_prices(connections_give("open_ledger")())
    except HybridHpcError:
        return current_prices()


async def _examine(cluster: Cluster, open_site: OpenSite) -> bool:
    well = True
    async for finding in examine(cluster, open_site):
        well = well and finding.well
        console.print(_line(finding))
    return well


def _compare_prices(clusters: Sequence[Cluster]) -> None:
    table, today = _prices(), utc_now().date()
    for cluster in clusters:
        for finding in price_findings(cluster, table, today):
            console.print(_line(finding))


def _line(finding: Finding) -> Text:
    """Made of styled text, not of markup: what programs say may hold square brackets."""
    mark = ("ok  ", "green") if finding.well else ("FAIL", "red")
    if finding.well and finding.remedy:
        mark = ("warn", "yellow")
    said = f" {finding.cluster:<10} {finding.check:<14} {finding.found}"
    remedy = (f" => {finding.remedy}", "yellow") if finding.remedy else ""
    return Text.assemble(mark, said, remedy)


def _end(sentence: str) -> typer.Exit:
    """Tells what is wrong; the exit status is 1."""
    console.print(Text(sentence, "red"))
    return typer.Exit(1)


if __name__ == "__main__":
    app()
