from __future__ import annotations

import pytest

from hybrid_hpc.cyclecloud import Node


def node(**attributes: object) -> Node:
    return Node.model_validate({"Name": "n", "NodeId": "i", "Template": "hpc", **attributes})


@pytest.mark.parametrize(
    ("status", "target", "address", "word"),
    [
        ("Acquiring", "Started", None, "booting"),
        ("Preparing", "Started", None, "booting"),
        ("Ready", "Started", None, "booting"),
        ("Ready", "Started", "10.0.0.1", "ready"),
        ("Started", "Started", "10.0.0.1", "ready"),
        ("Failed", "Started", "10.0.0.1", "failed"),
        ("Unavailable", "Started", None, "failed"),
        ("Ready", "Terminated", "10.0.0.1", "leaving"),
        ("Terminating", "Terminated", "10.0.0.1", "leaving"),
        ("Stopping", "Deallocated", None, "leaving"),
        ("Deallocated", "Deallocated", None, "gone"),
        ("Terminated", "Terminated", None, "gone"),
        ("Off", "Terminated", None, "gone"),
    ],
)
def test_a_node_is_exactly_one_of_booting_ready_failed_leaving_gone(
    status: str, target: str, address: str | None, word: str
) -> None:
    found = node(Status=status, TargetState=target, PrivateIp=address)
    words = ("booting", "ready", "failed", "leaving", "gone")
    assert [each for each in words if getattr(found, each)] == [word]


def test_what_nobody_documented_is_kept_and_null_is_absent() -> None:
    found = node(KeepAlive=None, Hostname=None, SubscriptionId="s", Configuration={"slurm": {"hpc": True}})
    assert (found.keep_alive, found.hostname) == (False, "")
    assert found.model_extra == {"SubscriptionId": "s", "Configuration": {"slurm": {"hpc": True}}}
