"""``python -m hybrid_hpc estimate``: figures checked by hand, each line with its day."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from hybrid_hpc.__main__ import app
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.prices.estimate import SIZES, Workload, estimate
from hybrid_hpc.prices.shipped import shipped_prices
from hybrid_hpc.prices.table import BLOB, DISK, EGRESS, PUBLIC_IP, SPOT, PriceTable
from tests.unit.price_world import DAY, price

TABLE = PriceTable(
    [
        price(usd=0.5),
        price(usd=0.05, priority=SPOT),
        price("Standard_D4s_v5", 0.2),
        price(DISK, 20.0, unit="month"),
        price(PUBLIC_IP, 0.005),
        price(BLOB, 0.02, unit="GB-month"),
        price(EGRESS, 0.0, unit="GB"),
        price(EGRESS, 0.09, unit="GB", from_units=100.0),
        price(usd=0.6, region="westeurope"),
    ]
)
MINE = Workload(
    "mine", "Standard_F16s_v2", nodes=10, hours=100.0, spot_share=0.25, storage_tb=1.0, egress_tb=0.5
)


def test_each_line_is_quantity_times_price() -> None:
    found = estimate(MINE, TABLE)
    assert [(line.quantity, line.usd_each, round(line.usd, 4)) for line in found.lines] == [
        (750.0, 0.5, 375.0),
        (250.0, 0.05, 12.5),
        (1460.0, 0.2, 292.0),
        (2.0, 20.0, 40.0),
        (1460.0, 0.005, 7.3),
        (1024.0, 0.02, 20.48),
        (512.0, 0.09, 37.08),
    ]
    assert found.usd == pytest.approx(784.36)
    assert {line.as_of for line in found.lines} == {DAY}


def test_lines_of_nothing_are_left_out() -> None:
    found = estimate(Workload("mine", "Standard_F16s_v2", storage_tb=0.0, egress_tb=0.0), TABLE)
    assert len(found.lines) == 4


def test_what_a_region_has_no_price_of_costs_what_it_costs_in_the_reference_and_says_so() -> None:
    found = estimate(Workload("mine", "Standard_F16s_v2", region="westeurope"), TABLE)
    nodes, *others = found.lines
    assert (nodes.usd_each, nodes.approximate) == (0.6, False)
    assert all(line.approximate and "(price of eastus)" in line.what for line in others)


@pytest.mark.parametrize(
    ("size", "nodes_usd", "usd"),
    [("small", 12_337.0, 12_787.03), ("medium", 24_674.0, 25_124.03), ("large", 49_421.0, 49_871.03)],
)
def test_the_three_sizes_at_the_shipped_prices(size: str, nodes_usd: float, usd: float) -> None:
    """100 nodes x 730 h x 0.169, 0.338, 0.677 USD; 280.32 + 39.42 + 7.30 + 2048 x 0.0208 + 924 x 0.087."""
    (workload,) = (each for each in SIZES if each.name == size)
    found = estimate(workload, PriceTable(shipped_prices()))
    assert found.lines[0].usd == pytest.approx(nodes_usd)
    assert found.usd == pytest.approx(usd, abs=0.005)


def run(*options: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["estimate", *options], env={"HYBRID_HPC_LEDGER_URL": ""})
    return result.exit_code, result.output


def test_the_command_shows_the_three_sizes_with_days_and_the_word_estimate() -> None:
    status, said = run()
    assert status == 0
    assert re.findall(r"12,787\.03|25,124\.03|49,871\.03", said) == ["12,787.03", "25,124.03", "49,871.03"]
    assert said.count("sum (estimate)") == 3
    assert "Estimate at Azure's retail prices as of 2025-07-01 to 2025-07-01" in said


def test_the_command_takes_ones_own_numbers() -> None:
    own = [
        "--vm-size",
        "Standard_HB120rs_v3",
        "--nodes",
        "10",
        "--utilisation",
        "0.5",
        "--region",
        "southcentralus",
    ]
    status, said = run(*own, "--spot-share", "0.25", "--storage-tb", "0", "--egress-tb", "0")
    assert status == 0
    assert "10,840.50" in said  # 10 x 365 h x 0.75 x 3.96 USD
    assert "397.49" in said  # 10 x 365 h x 0.25 x 0.4356 USD
    assert "blob" not in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ["--vm-size", "Standard_F16_v2"],
            "vm_size: 'Standard_F16_v2' is not in the price table. Did you mean",
        ),
        (["--region", "mars"], "in 'mars'. It has one in: eastus"),
        (
            ["--hours", "10", "--utilisation", "0.5"],
            "--hours and --utilisation: say the same in two ways. Give one",
        ),
    ],
)
def test_what_cannot_be_is_told_with_the_remedy(options: list[str], words: str) -> None:
    status, said = run(*options)
    assert status == 1
    assert words in said.replace("\n", " ")


@pytest.mark.parametrize("option", [("--nodes", "0"), ("--spot-share", "1.5"), ("--hours", "800")])
def test_numbers_out_of_range_are_refused_with_the_options_name(option: tuple[str, str]) -> None:
    status, said = run(*option)
    assert status == 2
    assert option[0] in said


def test_the_prices_of_the_ledger_count_where_its_address_is_given(tmp_path: object) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    ledger = Ledger(url)
    ledger.migrate()
    ledger.save_prices([price("Standard_F4s_v2", 1.0, as_of=DAY)])
    ledger.close()
    result = CliRunner().invoke(app, ["estimate"], env={"HYBRID_HPC_LEDGER_URL": url})
    assert result.exit_code == 0
    assert "73,000.00" in result.output
