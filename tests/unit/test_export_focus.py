"""FOCUS rows: what the specification demands, sums that are what was paid, no formula for a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from hybrid_hpc.__main__ import app
from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.errors import Invalid
from hybrid_hpc.ledger import Ledger, UsageRow
from hybrid_hpc.ledger.lives import LIVES
from hybrid_hpc.ledger.rows import LifeRow
from hybrid_hpc.months import month_before, month_name, month_window, this_month
from hybrid_hpc.usage.export import focus_export
from hybrid_hpc.usage.export_charges import charges
from hybrid_hpc.usage.frames import frame_of
from hybrid_hpc.usage.vm_hours import VmHourRow
from hybrid_hpc.usage.windows import Window
from tests.unit.usage_world import NOON, life

MARCH = month_window("2026-03")
DAY = Window(datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 3, 30, tzinfo=UTC))
CLUSTERS = load_clusters()
# The mandatory columns of FOCUS 1.2: type, and whether null is allowed.
MANDATORY = {
    "BilledCost": ("Decimal", False),
    "BillingAccountId": ("String", False),
    "BillingAccountName": ("String", True),
    "BillingCurrency": ("String", False),
    "BillingPeriodEnd": ("DateTime", False),
    "BillingPeriodStart": ("DateTime", False),
    "ChargeCategory": ("String", False),
    "ChargeClass": ("String", True),
    "ChargeDescription": ("String", True),
    "ChargePeriodEnd": ("DateTime", False),
    "ChargePeriodStart": ("DateTime", False),
    "ContractedCost": ("Decimal", False),
    "EffectiveCost": ("Decimal", False),
    "InvoiceIssuerName": ("String", False),
    "ListCost": ("Decimal", False),
    "PricingQuantity": ("Decimal", True),
    "PricingUnit": ("String", True),
    "ProviderName": ("String", False),
    "PublisherName": ("String", False),
    "ServiceCategory": ("String", False),
    "ServiceName": ("String", False),
}
# The conditional ones that must not be null in a row of category Usage.
OF_USAGE = (
    *("ConsumedQuantity", "ConsumedUnit", "ContractedUnitPrice", "ListUnitPrice", "PricingCategory"),
    *("PricingQuantity", "PricingUnit", "SkuId", "SkuPriceId", "SkuMeter"),
)
FORMATS = {
    "Decimal": r"-?\d+(\.\d+)?",
    "DateTime": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "String": r"(?s).+",
}


def azure_life(**changes: Any) -> UsageRow:
    return life(**{"cluster": "azure", "partition": "htc", "cost_usd": 0.3, **changes})


def vm_hour(core_h: float, usd: float | None, **changes: Any) -> VmHourRow:
    row = {
        "cluster": "azure",
        "hour": NOON,
        "category": "nodearray",
        "name": "htc",
        "vm_size": "Standard_F16s_v2",
        "priority": "Regular",
        "node_h": core_h / 16,
    }
    return VmHourRow(core_h=core_h, cost_usd=usd, **{**row, **changes})


HEAD = vm_hour(4.0, 0.2, category="node", name="scheduler", vm_size="Standard_D4s_v5", node_h=1.0)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    made.migrate()
    yield made
    made.close()


def boot(ledger: Ledger, minutes: float) -> None:
    """A node of htc that took so long to come up."""
    life = {
        "cluster": "azure",
        "node_id": "1",
        "name": "htc-1",
        "nodearray": "htc",
        "vm_size": "Standard_F16s_v2",
        "asked_at": NOON,
        "up_at": NOON + timedelta(minutes=minutes),
        "seen_at": NOON + timedelta(hours=1),
        "gone_at": NOON + timedelta(hours=2),
    }
    with ledger._transaction() as connection:
        connection.execute(LIVES.insert().values(life))


def rows_of(ledger: Ledger) -> list[dict[str, str]]:
    text = "".join(focus_export(ledger, CLUSTERS, MARCH))
    return list(csv.DictReader(io.StringIO(text, newline="")))


def usd(rows: list[dict[str, str]], **only: str) -> float:
    wanted = [row for row in rows if all(row[name] == value for name, value in only.items())]
    return sum(float(row["BilledCost"]) for row in wanted)


@pytest.fixture
def full(ledger: Ledger) -> list[dict[str, str]]:
    """A day with all there is: both clusters, spot, boots, idle nodes, the head node, a job of no project."""
    ledger.save_usage(
        [
            life(native_id="1", cost_usd=0.08),
            azure_life(native_id="2"),
            azure_life(native_id="3", project=""),
            azure_life(native_id="4", partition="spot", cost_usd=0.1),
        ]
    )
    spot = vm_hour(16.0, 0.17, name="spot", priority="Spot")
    ledger.save_vm_hours([vm_hour(32.0, 1.35), HEAD, spot])
    boot(ledger, 30)
    return rows_of(ledger)


def test_every_mandatory_column_is_there_with_its_type_and_no_null_where_none_may_be(
    full: list[dict[str, str]],
) -> None:
    assert len(full) == 8
    assert set(MANDATORY) <= set(full[0])
    for row in full:
        for name, (kind, nullable) in MANDATORY.items():
            assert (nullable and not row[name]) or re.fullmatch(FORMATS[kind], row[name]), (name, row[name])
        assert all(row[name] for name in OF_USAGE), row


def test_every_row_keeps_the_rules_of_its_category(full: list[dict[str, str]]) -> None:
    for row in full:
        assert (row["ChargeCategory"], row["ChargeClass"], row["ServiceCategory"]) == ("Usage", "", "Compute")
        assert row["PricingCategory"] == ("Dynamic" if row["ResourceName"] == "spot" else "Standard")
        quantity = float(row["PricingQuantity"])
        for price, cost in (("ListUnitPrice", "ListCost"), ("ContractedUnitPrice", "ContractedCost")):
            assert quantity * float(row[price]) == pytest.approx(float(row[cost]), abs=1e-8)
        assert row["BillingPeriodStart"] <= row["ChargePeriodStart"] < row["ChargePeriodEnd"]
        assert row["ChargePeriodEnd"] <= row["BillingPeriodEnd"]
        assert bool(row["RegionId"]) == bool(row["RegionName"]) == (row["ProviderName"] == "Microsoft")
        assert json.loads(row["Tags"])["cluster"] == row["BillingAccountId"]
        assert row["SubAccountId"] == row["SubAccountName"]


def test_no_column_but_ours_is_unknown_to_the_specification(full: list[dict[str, str]]) -> None:
    assert all(re.fullmatch(r"[A-Z][A-Za-z]+|x_[A-Z][A-Za-z]+", name) for name in full[0])
    assert [name for name in full[0] if name.startswith("x_")] == ["x_Kind", "x_Estimated"]


def test_on_azure_the_rows_add_up_to_what_the_vms_cost(full: list[dict[str, str]]) -> None:
    assert usd(full, BillingAccountId="azure") == pytest.approx(1.35 + 0.2 + 0.17)
    kinds = {
        kind: usd(full, BillingAccountId="azure", x_Kind=kind) for kind in {row["x_Kind"] for row in full}
    }
    assert kinds["jobs"] == pytest.approx(0.3 + 0.3 + 0.1)
    assert kinds["head node"] == pytest.approx(0.2)
    assert kinds["nodes that boot"] == pytest.approx(1.35 * 0.25)  # half an hour of two node-hours
    assert kinds["nodes without a job"] == pytest.approx(1.35 * 0.75 - 0.6 + 0.07)


hours = st.lists(
    st.tuples(
        *(st.sampled_from(("htc", "spot", "hpc")), st.integers(0, 60)),
        *(st.floats(0.5, 900), st.floats(0, 900)),
    ),
    min_size=1,
    max_size=8,
)
used = st.lists(
    st.tuples(st.sampled_from(("htc", "spot", "hpc")), st.sampled_from(("a", "b")), st.floats(0, 900)),
    max_size=8,
)


@settings(deadline=None, max_examples=60)
@given(hours, used)
def test_whatever_ran_the_rows_add_up_to_what_the_vms_cost_and_none_is_below_zero(
    vms: list[tuple[str, int, float, float]], jobs: list[tuple[str, str, float]]
) -> None:
    rows = [
        vm_hour(core_h, usd, name=name, hour=DAY.since + timedelta(hours=at)) for name, at, core_h, usd in vms
    ]
    there = {row.name for row in rows if row.hour < DAY.until}
    ran = [(partition, project, usd) for partition, project, usd in jobs if partition in there]
    table = pd.DataFrame(ran, columns=["partition", "project", "cost_usd"]).assign(
        cluster="azure", core_h=1.0
    )
    lives = frame_of(LifeRow, [])
    found = list(charges(table, frame_of(VmHourRow, rows), lives, CLUSTERS.clusters, DAY))
    paid = sum(row.cost_usd or 0.0 for row in rows if row.hour < DAY.until)
    assert sum(charge.usd for charge in found) == pytest.approx(paid, abs=1e-6)
    assert all(charge.usd >= 0 and charge.core_h > 0 for charge in found)


def test_on_premises_a_row_is_what_its_jobs_cost_and_no_estimate(full: list[dict[str, str]]) -> None:
    (row,) = [row for row in full if row["BillingAccountId"] == "onprem"]
    assert (row["BilledCost"], row["x_Estimated"], row["ProviderName"]) == (
        "0.08",
        "false",
        "On-premises cluster",
    )
    assert (row["ConsumedQuantity"], row["ConsumedUnit"]) == ("4", "Core-Hours")
    assert {row["x_Estimated"] for row in full if row["BillingAccountId"] == "azure"} == {"true"}


def test_jobs_that_ask_for_more_than_their_nodes_cost_pay_together_what_these_cost(ledger: Ledger) -> None:
    ledger.save_usage(
        [
            azure_life(native_id="1", cost_usd=3.0),
            azure_life(native_id="2", project="proj-beta", cost_usd=1.0),
        ]
    )
    ledger.save_vm_hours([vm_hour(16.0, 2.0)])
    rows = rows_of(ledger)
    assert {row["SubAccountId"]: float(row["BilledCost"]) for row in rows} == {
        "proj-alpha": 1.5,
        "proj-beta": 0.5,
    }


def test_where_a_price_is_not_known_jobs_pay_their_own_and_no_overhead_is_invented(ledger: Ledger) -> None:
    ledger.save_usage([azure_life()])
    ledger.save_vm_hours([vm_hour(16.0, None)])
    (row,) = rows_of(ledger)
    assert (row["BilledCost"], row["x_Kind"]) == ("0.3", "jobs")


def test_vms_that_cyclecloud_does_not_tell_apart_pay_for_all_partitions(ledger: Ledger) -> None:
    ledger.save_usage([azure_life(native_id="1"), azure_life(native_id="2", partition="hpc", cost_usd=0.5)])
    ledger.save_vm_hours([vm_hour(32.0, 1.0, category="cluster", name="", vm_size="", node_h=None)])
    rows = rows_of(ledger)
    assert usd(rows) == pytest.approx(1.0)
    assert usd(rows, x_Kind="nodes without a job") == pytest.approx(0.2)


def test_a_job_over_midnight_is_on_both_days(ledger: Ledger) -> None:
    ledger.save_usage([life(NOON + timedelta(hours=9), hours=9, cost_usd=9.0)])
    assert [(row["ChargePeriodStart"][:10], float(row["BilledCost"])) for row in rows_of(ledger)] == [
        ("2026-03-29", 3.0),
        ("2026-03-30", 6.0),
    ]


def test_a_cluster_that_is_no_longer_in_the_file_keeps_its_rows(ledger: Ledger) -> None:
    ledger.save_usage([life(cluster="old", cost_usd=0.5)])
    (row,) = rows_of(ledger)
    assert (row["ProviderName"], row["BillingAccountName"], row["BilledCost"]) == ("old", "old", "0.5")


@pytest.mark.parametrize("project", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", '=HYPERLINK("http://x","y")'])
def test_a_project_that_a_spreadsheet_would_compute_is_made_a_text(ledger: Ledger, project: str) -> None:
    ledger.save_usage([life(project=project)])
    (row,) = rows_of(ledger)
    assert row["SubAccountId"] == f"'{project}"
    assert not [cell for cell in row.values() if cell.startswith(("=", "+", "-", "@", "\t"))]
    assert json.loads(row["Tags"])["project"] == project


def test_commas_quotes_and_line_breaks_stay_in_their_cell(ledger: Ledger) -> None:
    ledger.save_usage([life(project='a,"b"\nc')])
    (row,) = rows_of(ledger)
    assert row["SubAccountId"] == 'a,"b"\nc'


def test_a_month_without_anything_is_the_head_alone(ledger: Ledger) -> None:
    assert list(focus_export(ledger, CLUSTERS, MARCH))[1:] == []


@pytest.mark.parametrize("name", ["2026-13", "2026-3", "march", "", "2026-03-01", "1999-01", "2026-03\n"])
def test_what_is_no_month_is_refused_in_words(name: str) -> None:
    with pytest.raises(Invalid, match=r"month: .* is no month. Write year and month: 2026-03"):
        month_window(name)


def test_months_are_the_calendars() -> None:
    end_of_year = datetime(2026, 12, 31, 23, 59, tzinfo=UTC)
    assert month_window("2026-12").until == datetime(2027, 1, 1, tzinfo=UTC)
    assert (month_name(end_of_year), month_before(end_of_year)) == ("2026-12", "2026-11")
    assert month_before(datetime(2026, 1, 1, tzinfo=UTC)) == "2025-12"
    assert this_month(end_of_year).until == datetime(2027, 1, 1, tzinfo=UTC)


@pytest.fixture
def connected(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    module = cast(Any, SimpleNamespace(open_ledger=lambda: ledger))
    monkeypatch.setitem(sys.modules, "fake_connections", module)
    monkeypatch.setenv("HYBRID_HPC_CONNECTIONS", "fake_connections")


@pytest.mark.usefixtures("connected")
def test_the_command_writes_what_the_page_gives(ledger: Ledger, tmp_path: Path) -> None:
    ledger.save_usage([life()])
    text = "".join(focus_export(ledger, CLUSTERS, MARCH))
    to_terminal = CliRunner().invoke(app, ["focus", "2026-03"])
    assert (to_terminal.exit_code, to_terminal.stdout_bytes.decode()) == (0, text)
    to_file = CliRunner().invoke(app, ["focus", "2026-03", "--output", str(tmp_path / "focus.csv")])
    assert (to_file.exit_code, to_file.output) == (0, "")
    assert (tmp_path / "focus.csv").read_bytes().decode() == text
    assert not list(tmp_path.glob(".*.new"))


@pytest.mark.usefixtures("connected")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["march"], "Write year and month"), (["2026-03", "--output", "/no/such/folder/x.csv"], "No such file")],
)
def test_the_command_says_what_is_wrong_and_ends_with_1(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(app, ["focus", *arguments])
    assert result.exit_code == 1
    assert words in result.output
