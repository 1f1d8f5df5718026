from __future__ import annotations

import pytest

from lab.cyclecloud.faults import DeclinedError
from lab.cyclecloud.filters import node_filter

NODE = {
    "Name": "htc-1",
    "State": "Started",
    "CoreCount": 16,
    "Interruptible": False,
    "StatusMessage": 'say "hi"',
    "Configuration": {"slurm": {"partition": "htc"}},
}


@pytest.mark.parametrize(
    "text",
    [
        'State === "Started"',
        'state === "Started"',
        'State == "STARTED"',
        'State !== "started"',
        'State != "Failed"',
        "CoreCount === 16",
        "CoreCount >= 16 && CoreCount <= 16",
        "CoreCount > 15.5",
        "CoreCount < 17",
        "Interruptible === false",
        "!(Interruptible === true)",
        "PrivateIp === undefined",
        'State === "Failed" || Name === "htc-1"',
        '(State === "Failed" || State === "Started") && !(Name === "htc-2")',
        'State === "Started" || State === "x" && State === "y"',
        'Configuration.slurm.partition === "htc"',
        r'StatusMessage === "say \"hi\""',
        'State=="Started"',
    ],
)
def test_a_node_that_fits_is_taken(text: str) -> None:
    assert node_filter(text)(NODE)


@pytest.mark.parametrize(
    "text",
    [
        'State === "started"',
        'State !== "Started"',
        'PrivateIp == "10.0.0.1"',
        'PrivateIp != "10.0.0.1"',  # what is not known is neither equal nor different
        "CoreCount > 16",
        'CoreCount > "1"',
        "State > 1",
        "Interruptible === 0",
        "Interruptible >= false",
        '(State === "Started" || Name === "x") && Name === "y"',
        'Name.slurm === "x"',
    ],
)
def test_a_node_that_does_not_fit_is_left(text: str) -> None:
    assert not node_filter(text)(NODE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "State",
        "State ===",
        '=== "Started"',
        '"Started" === State',
        'State = "Started"',
        'State === "Started',
        "State === Started",
        '(State === "Started"',
        'State === "Started")',
        'State === "a" "b"',
        'State === "a" &&',
        '! && State === "a"',
        'State in {"a"}',
        r'State === "\x"',
        "__import__('os').system('id')",
        "CoreCount === " + "9" * 5000,
        "(" * 5000,
        "!" * 5000,
        'State === "a" && ' * 500 + 'State === "a"',
    ],
)
def test_an_expression_that_is_not_understood_is_declined_with_409(text: str) -> None:
    with pytest.raises(DeclinedError) as caught:
        node_filter(text)
    assert caught.value.status == 409


def test_the_deepest_expression_that_is_read_can_be_evaluated() -> None:
    depth = 98
    assert node_filter("(" * depth + 'State === "Started"' + ")" * depth)(NODE)
