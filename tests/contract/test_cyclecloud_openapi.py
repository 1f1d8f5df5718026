"""The server's OpenAPI document is current and whole."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from lab.cyclecloud.__main__ import main
from lab.cyclecloud.app import described_app
from tests.cyclecloud_world import World

COMMITTED = Path(__file__).parents[2] / "docs" / "cyclecloud-openapi.json"
DOCUMENT = described_app().openapi()


def test_the_committed_document_is_what_the_server_gives(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--openapi"]) == 0
    remedy = "run: python -m lab.cyclecloud --openapi > docs/cyclecloud-openapi.json"
    assert capsys.readouterr().out == COMMITTED.read_text(), remedy


async def test_the_document_needs_no_login(tmp_path: Path) -> None:
    async with World(tmp_path).http(None) as http:
        assert (await http.get("/openapi.json")).json() == DOCUMENT


@pytest.mark.parametrize(
    ("path", "body", "answers"),
    [
        ("/clusters/{cluster}/nodes/create", "NodeCreationRequest", {"202", "404", "409"}),
        ("/clusters/{cluster}/nodes/shutdown", "NodeManagementRequest", {"202", "404", "409"}),
        ("/lab/faults", "FaultRequest", {"200", "409"}),
    ],
)
def test_a_body_that_is_read_by_hand_is_described_with_every_answer(
    path: str, body: str, answers: set[str]
) -> None:
    post = DOCUMENT["paths"][path]["post"]
    content = post["requestBody"]["content"]["application/json"]["schema"]
    assert content == {"$ref": f"#/components/schemas/{body}"}
    assert DOCUMENT["components"]["schemas"][body]["properties"]
    assert post["responses"].keys() == answers | {"401", "500", "503"}


def test_every_reference_in_the_document_leads_somewhere() -> None:
    text = json.dumps(DOCUMENT)
    wanted = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert wanted <= DOCUMENT["components"]["schemas"].keys()
    assert "422" not in text
