"""Ways to the clusters of the lab that all tests share, through a proxy that can break them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from hybrid_hpc.ledger import Ledger
from lab.lab import Lab
from tests.chaos.lab_world import ONPREM, Way, cancel_all, layout_of, new_ledger, site
from tests.chaos.proxy import Proxy, running_proxy

TIMEOUT_S = 3.0  # of a command, where the faults of a network are tested


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with new_ledger(tmp_path) as made:
        yield made


@pytest.fixture
def proxy(lab: Lab) -> Iterator[Proxy]:
    """Before the sshd of onprem."""
    with running_proxy(layout_of(lab, ONPREM).ssh_port) as made:
        yield made


@pytest.fixture
async def way(lab: Lab, proxy: Proxy, ledger: Ledger) -> AsyncIterator[Way]:
    """To onprem through the proxy; what it leaves in the queue is cancelled."""
    made = Way(lab, site(lab, ONPREM, ledger, port=proxy.port, timeout_s=TIMEOUT_S), ledger, proxy)
    yield made
    proxy.heal()
    await made.site.close()
    cancel_all(made.layout, [row.token for row in ledger.open_jobs()])
