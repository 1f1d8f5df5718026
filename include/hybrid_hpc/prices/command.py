"""``python -m hybrid_hpc estimate``: what a cluster in Azure costs a month."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hybrid_hpc.errors import HybridHpcError, Invalid, Problem
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.prices.current import current_prices
from hybrid_hpc.prices.estimate import HOURS, REFERENCE, SIZES, Estimate, Line, Workload, estimate
from hybrid_hpc.prices.table import PriceTable

LEDGER_VARIABLE = "HYBRID_HPC_LEDGER_URL"

console = Console(highlight=False, width=110)


def estimate_command(  # noqa: PLR0913, PLR0917  a command's options
    vm_size: Annotated[str | None, typer.Option(help="Your own nodes; left out: the three sizes.")] = None,
    nodes: Annotated[int, typer.Option(min=1, max=100_000, help="How many nodes.")] = 100,
    hours: Annotated[float | None, typer.Option(min=0, max=744, help="Hours a node runs a month.")] = None,
    utilisation: Annotated[float | None, typer.Option(min=0, max=1, help="The same, as a part of 1.")] = None,
    spot_share: Annotated[float, typer.Option(min=0, max=1, help="The part of 1 that is spot.")] = 0.0,
    storage_tb: Annotated[float, typer.Option(min=0, help="Blob storage, TB.")] = 2.0,
    egress_tb: Annotated[float, typer.Option(min=0, help="Traffic to the internet, TB a month.")] = 1.0,
    region: Annotated[str, typer.Option(help="Azure's name of the region.")] = REFERENCE,
) -> None:
    """Tells what a cluster in Azure costs a month, at dated retail prices: an estimate, not a quote."""
    shares = {"spot_share": spot_share, "storage_tb": storage_tb, "egress_tb": egress_tb}
    try:
        own = {"nodes": nodes, "hours": _hours(hours, utilisation), "region": region, **shares}
        found = _estimates(vm_size, own)
    except HybridHpcError as error:
        console.print(Text(str(error), "red"), soft_wrap=True)
        raise typer.Exit(1) from error
    for each in found:
        console.print(_table(each))
    console.print(_caption(found), soft_wrap=True)


def _hours(hours: float | None, utilisation: float | None) -> float:
    """All the time, unless one of both says less. Raises `Invalid` for both at once."""
    if hours is not None and utilisation is not None:
        what = "say the same in two ways"
        raise Invalid([Problem("--hours and --utilisation", what, "Give one of the two.")])
    return HOURS * (1.0 if utilisation is None else utilisation) if hours is None else hours


def _estimates(vm_size: str | None, own: dict[str, Any]) -> list[Estimate]:
    workloads = [Workload("your numbers", vm_size)] if vm_size else SIZES
    table = _prices()
    return [estimate(replace(each, **own), table) for each in workloads]


def _prices() -> PriceTable:
    """With those that hpc_prices has brought, where the ledger's address is in the environment."""
    url = os.environ.get(LEDGER_VARIABLE)
    return current_prices(Ledger(url) if url else None)


def _table(found: Estimate) -> Table:
    work = found.workload
    each = f"{work.nodes} x {work.vm_size}, {work.hours:,.0f} h each, {work.region}"
    table = Table(title=Text(f"{work.name}: {each}"), title_justify="left", show_footer=True)
    table.add_column("a month", "sum (estimate)")
    table.add_column("quantity", justify="right")
    table.add_column("USD each", justify="right")
    table.add_column("USD", f"{found.usd:,.2f}", justify="right")
    table.add_column("price of")
    for line in found.lines:
        table.add_row(*_cells(line))
    return table


def _cells(line: Line) -> tuple[str, ...]:
    mark = "~" if line.approximate else ""
    quantity = f"{line.quantity:,.0f} {line.unit}"
    return line.what, quantity, f"{mark}{line.usd_each:.4g}", f"{line.usd:,.2f}", f"{line.as_of}"


def _caption(found: Sequence[Estimate]) -> Text:
    days = [line.as_of for each in found for line in each.lines]
    return Text(
        f"Estimate at Azure's retail prices as of {min(days)} to {max(days)} (~: approximate), without taxes,"
        " discounts, disks of nodes and transactions; what is charged stands on the bill."
    )
