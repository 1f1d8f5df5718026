from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lab.cyclecloud.config import load_config, read_password
from lab.cyclecloud.store import Store
from lab.errors import LabError
from tests.cyclecloud_world import HPC, HTC, World

TOLD: dict[str, Any] = {
    "port": 0,
    "username": "u",
    "password_file": "pw",
    "folder": "run",
    "nodearrays": [HPC],
    "tls": {"certificate_file": "server.pem", "key_file": "/keys/server.key"},
}


def written(folder: Path, told: object) -> Path:
    path = folder / "cloud.json"
    path.write_text(told if isinstance(told, str) else json.dumps(told))
    return path


def test_relative_file_names_start_at_the_configurations_folder(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, TOLD))
    assert config.folder == tmp_path / "run"
    assert config.password_file == tmp_path / "pw"
    assert config.tls
    assert config.tls.certificate_file == tmp_path / "server.pem"
    assert config.tls.key_file == Path("/keys/server.key")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"port": 99999}, "port"),
        ({"username": "a:b"}, "username"),
        ({"colour": "red"}, "colour"),
        ({"nodearrays": [HPC, HPC]}, "same name"),
        ({"nodearrays": [HPC | {"vcpus": 0}]}, "nodearrays.0.vcpus"),
        ({"nodearrays": [HPC | {"node_name": "../%d"}]}, "nodearrays.0.node_name"),
        ({"nodearrays": [HPC | {"name": "a\n"}]}, "nodearrays.0.name"),
        ({"subnet": "10.0.0.1/8"}, "subnet"),
    ],
)
def test_a_wrong_configuration_names_the_key(tmp_path: Path, change: dict[str, Any], word: str) -> None:
    with pytest.raises(LabError, match=word):
        load_config(written(tmp_path, TOLD | change))


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_file_that_is_no_configuration_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(LabError, match=r"cloud\.json"):
        load_config(written(tmp_path, text))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="nowhere"):
        load_config(tmp_path / "nowhere")
    with pytest.raises(LabError, match="nowhere"):
        read_password(tmp_path / "nowhere")


def test_a_password_is_read_without_the_editors_newline_and_an_empty_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pw"
    path.write_text(" a b \r\n")
    assert read_password(path) == " a b "
    path.write_text("\n")
    with pytest.raises(LabError, match="empty"):
        read_password(path)


async def test_after_a_crash_the_server_knows_its_nodes_requests_and_machines(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.create({"count": 2, "nodearray": "hpc"}, requestId="r1")
    before = await world.nodes()
    world.start()
    assert await world.nodes() == before == await world.nodes(request_id="r1")
    assert len(world.machines.boots) == 2


async def test_after_a_crash_a_machine_that_died_meanwhile_is_gone_and_one_that_booted_is_ready(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    await world.create({"count": 2, "nodearray": "hpc"})
    world.pass_(100)
    await world.create({"count": 1, "nodearray": "hpc"})
    world.machines.running.pop("azure-hpc-1")
    world.clock.now += 100
    world.start()
    assert await world.states() == {"azure-hpc-2": "Ready", "azure-hpc-3": "Ready"}


async def test_machines_that_no_state_knows_are_ended_at_the_start(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.create({"count": 2, "nodearray": "hpc"})
    (tmp_path / "state.json").unlink()
    world.start()
    assert await world.states() == {}
    assert not world.machines.running


async def test_nodes_of_a_nodearray_that_is_not_configured_any_more_are_ended(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.create({"count": 1, "nodearray": "hpc"}, {"count": 1, "nodearray": "htc"})
    world.config = world.config.model_validate(world.config.model_dump() | {"nodearrays": [HTC]})
    world.start()
    assert list(await world.states()) == ["htc-1"]
    assert list(world.machines.running) == ["htc-1"]


async def test_a_state_that_cannot_be_read_is_put_aside_and_its_machines_are_ended(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.create({"count": 1, "nodearray": "hpc"})
    (tmp_path / "state.json").write_text('{"nodes": {"cut')
    world.start()
    assert not world.machines.running
    assert (tmp_path / "state.unreadable").exists()
    assert Store(tmp_path / "state.json").read().nodes == {}


def test_one_vm_size_may_stand_in_its_nodearray_or_in_a_list(tmp_path: Path) -> None:
    size = {key: value for key, value in HPC.items() if key not in ("name", "max_count", "node_name")}
    array = {"name": "hpc", "max_count": 4, "node_name": "azure-hpc-%d", "sizes": [size]}
    short = load_config(written(tmp_path, TOLD))
    assert load_config(written(tmp_path, TOLD | {"nodearrays": [array]})) == short


@pytest.mark.parametrize(
    ("array", "word"),
    [
        ({"name": "a", "max_count": 1, "sizes": []}, "sizes"),
        ({"name": "a", "max_count": 1, "sizes": [{"vm_size": "F"}]}, r"nodearrays\.0\.sizes\.0\.vcpus"),
        ({"name": "a", "max_count": 1, "vm_size": "F"}, r"nodearrays\.0\.vcpus"),
        (HPC | {"sizes": [HTC]}, r"nodearrays\.0\.vcpus"),
        (HPC | {"spot_score": "Good"}, "spot_score"),
    ],
)
def test_a_wrong_vm_size_is_named_where_the_file_has_it(
    tmp_path: Path, array: dict[str, Any], word: str
) -> None:
    with pytest.raises(LabError, match=word):
        load_config(written(tmp_path, TOLD | {"nodearrays": [array]}))


def test_a_vm_size_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    size = {key: HPC[key] for key in ("vm_size", "vcpus", "pcpus", "memory_gib")}
    array = {"name": "a", "max_count": 1, "sizes": [size, size]}
    with pytest.raises(LabError, match="named twice"):
        load_config(written(tmp_path, TOLD | {"nodearrays": [array]}))
