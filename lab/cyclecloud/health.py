"""Guest health reports: what a user tells Azure about the machine below a node."""

from __future__ import annotations

from datetime import UTC, datetime

from lab.cyclecloud.cloud import Cloud
from lab.cyclecloud.faults import DeclinedError, invalid
from lab.cyclecloud.model import GuestHealthReport
from lab.cyclecloud.node import HealthReport, Node


def report(cloud: Cloud, name: str, category: str, description: str) -> GuestHealthReport:
    """Write a report down. Raises DeclinedError 404, and 409 for one of that category again."""
    node = _node(cloud, name)
    if _of(node, category):
        raise invalid(f"a report of {category} was submitted already for {name}")
    node.reports.append(HealthReport(category=category, description=description, at=cloud.clock()))
    cloud.note("GuestHealthReport", node=name, category=category, description=description)
    cloud.keep()
    return _shown(node, node.reports[-1])


def reports(cloud: Cloud, name: str, category: str | None) -> list[GuestHealthReport]:
    """Give the reports on a node, all or those of a category. Raises DeclinedError 404."""
    node = _node(cloud, name)
    return [_shown(node, each) for each in _of(node, category)]


def _of(node: Node, category: str | None) -> list[HealthReport]:
    return [each for each in node.reports if category in (None, each.category)]


def _node(cloud: Cloud, name: str) -> Node:
    if name not in cloud.state.nodes:
        raise DeclinedError(404, f"No node named {name}")
    return cloud.state.nodes[name]


def _shown(node: Node, told: HealthReport) -> GuestHealthReport:
    return GuestHealthReport(
        node=node.name,
        category=told.category,
        description=told.description,
        submitted=datetime.fromtimestamp(told.at, UTC),
    )
