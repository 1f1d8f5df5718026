"""What the server is told: one JSON file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from lab.errors import LabError

NodeName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]*$", max_length=63)]
NodeNameFormat = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]*(%d)?[A-Za-z0-9-]*$", max_length=50)]


class _Told(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Size(_Told):
    """One VM size; ``vcpus`` are the cores that quotas count.

    Sizes of one ``family`` share its quota; without one a size is a family of its own. ``max_count`` None: as
    many as the nodearray holds. Without ``spot_usd_per_hour`` a spot node costs what any other does.
    ``invalid_reason`` is why no more nodes of it can be made.
    """

    vm_size: str = Field(min_length=1)
    vcpus: int = Field(ge=1)
    pcpus: int = Field(ge=1)
    gpus: int = Field(0, ge=0)
    memory_gib: float = Field(gt=0)
    infiniband: bool = False
    max_count: int | None = Field(None, ge=0)
    family: str | None = None
    boot_s: float = Field(3, ge=0)
    usd_per_hour: float | None = Field(None, ge=0)
    spot_usd_per_hour: float | None = Field(None, ge=0)
    spot_score: Literal["High", "Medium", "Low", ""] = ""
    invalid_reason: Literal["NotActivated", "DisabledMachineType", ""] = ""

    @property
    def quota_family(self) -> str:
        """The family whose quota it takes from."""
        return self.family or self.vm_size

    def price(self, *, spot: bool) -> float | None:
        """Give USD per hour, None when nobody knows."""
        return self.spot_usd_per_hour if spot and self.spot_usd_per_hour is not None else self.usd_per_hour


class NodeArray(_Told):
    """A nodearray and the VM sizes of its nodes; the keys of an only one may stand among its own."""

    name: NodeName
    interruptible: bool = False
    max_count: int = Field(ge=0)
    max_placement_group_size: int = Field(100, ge=1)
    node_name: NodeNameFormat | None = None
    configuration: dict[str, Any] = {}
    sizes: tuple[Size, ...] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _with_sizes(cls, told: object) -> object:
        if not isinstance(told, dict) or "sizes" in told:
            return told
        keys = Size.model_fields.keys() - {"max_count"}
        inline = {key: value for key, value in told.items() if key in keys}
        return {key: value for key, value in told.items() if key not in keys} | {"sizes": [inline]}

    @field_validator("sizes")
    @classmethod
    def _each_once(cls, sizes: tuple[Size, ...]) -> tuple[Size, ...]:
        if len({size.vm_size for size in sizes}) < len(sizes):
            raise ValueError("a VM size is named twice")
        return sizes

    @property
    def name_format(self) -> str:
        """How nodes are called when a request does not say it, with ``%d`` for the number."""
        return self.node_name or f"{self.name}-%d"

    @property
    def kinds(self) -> list[Kind]:
        """Its buckets, in the order in which they are tried."""
        return [Kind(self, size) for size in self.sizes]

    @property
    def max_cores(self) -> int:
        """How many cores its nodes can have at most."""
        each = sum(kind.max_count * kind.size.vcpus for kind in self.kinds)
        return min(each, self.max_count * max(size.vcpus for size in self.sizes))


@dataclass(frozen=True, slots=True)
class Kind:
    """A nodearray and one of its VM sizes: what CycleCloud calls a bucket."""

    array: NodeArray
    size: Size

    @property
    def key(self) -> str:
        """How faults and the state name it: ``nodearray/VM size``."""
        return f"{self.array.name}/{self.size.vm_size}"

    @property
    def max_count(self) -> int:
        """How many nodes of it there can be at most."""
        own = self.size.max_count
        return self.array.max_count if own is None else min(own, self.array.max_count)


class HeadNode(_Told):
    """The scheduler's own VM: never listed among the nodes, but in the usage from the first start on."""

    name: NodeName = "scheduler"
    vm_size: str = Field(min_length=1)
    cores: int = Field(ge=1)
    usd_per_hour: float | None = Field(None, ge=0)


class Tls(_Told):
    """The server's certificate (with its chain) and key, both PEM.

    With a ``ca_file`` all three are the server's own: it makes them, and anew before they run out.
    """

    certificate_file: Path
    key_file: Path
    ca_file: Path | None = None


class Config(_Told):
    """Everything the server is told.

    ``port`` 0 takes a free one. ``folder`` gets ``pid/``, ``log/`` and the state that survives a crash. In
    ``vm_command``, ``%n`` is the node's name; without a command VMs only stay up. ``quota_cores`` None: as
    many as the nodearrays can hold; ``quotas`` are cores by family, without an entry as many as the region's.
    ``subnet`` of one address: all nodes share it, which Slurm on loopback needs. File names that are relative
    start at the folder of the configuration file.
    """

    port: int = Field(ge=0, le=65535)
    username: str = Field(min_length=1, pattern=r"^[^:]+$")
    password_file: Path
    folder: Path
    nodearrays: tuple[NodeArray, ...]
    cluster: str = Field("azure", pattern=r"^[\w.-]+$")
    region: str = "westeurope"
    vm_command: tuple[str, ...] = ()
    quota_cores: int | None = Field(None, ge=0)
    quotas: dict[str, Annotated[int, Field(ge=0)]] = {}
    head_node: HeadNode | None = None
    subnet: IPv4Network = IPv4Network("127.0.0.1/32")
    tls: Tls | None = None

    def within(self, start: Path) -> Config:
        """Give the same configuration with every relative file name resolved from ``start``."""
        tls = self.tls and Tls(
            certificate_file=start / self.tls.certificate_file,
            key_file=start / self.tls.key_file,
            ca_file=self.tls.ca_file and start / self.tls.ca_file,
        )
        files = {"password_file": start / self.password_file, "folder": start / self.folder, "tls": tls}
        return self.model_copy(update=files)

    @field_validator("nodearrays")
    @classmethod
    def _named_once(cls, arrays: tuple[NodeArray, ...]) -> tuple[NodeArray, ...]:
        if len({array.name for array in arrays}) < len(arrays):
            raise ValueError("two nodearrays have the same name")
        return arrays

    @property
    def cores(self) -> int:
        """How many cores the region gives when nobody lowers the quota."""
        full = sum(array.max_cores for array in self.nodearrays)
        return full if self.quota_cores is None else self.quota_cores

    def nodearray(self, name: str) -> NodeArray | None:
        """Give the nodearray of that name, None when there is none."""
        return next((array for array in self.nodearrays if array.name == name), None)

    def kind(self, nodearray: str, vm_size: str) -> Kind | None:
        """Give the bucket of a node, None when there is none."""
        array = self.nodearray(nodearray)
        return next((kind for kind in array.kinds if kind.size.vm_size == vm_size), None) if array else None


def load_config(path: Path) -> Config:
    """Read the JSON file. Raises LabError naming each key that is wrong."""
    try:
        told = path.read_bytes()
        return Config.model_validate_json(told).within(path.resolve().parent)
    except OSError as error:
        raise LabError(f"{path} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        lines = [f"{path}: {_key(e['loc'], told) or 'the file'}: {e['msg']}" for e in error.errors()]
        raise LabError("\n".join(lines)) from error


def _key(where: Sequence[int | str], told: bytes) -> str:
    """Name a key as the file has it: an only VM size may stand in its nodearray itself."""
    if where[:1] == ("nodearrays",) and where[2:4] == ("sizes", 0):
        array = json.loads(told)["nodearrays"][where[1]]
        where = where if "sizes" in array else (*where[:2], *where[4:])
    return ".".join(map(str, where))


def read_password(path: Path) -> str:
    """Read the password, without the newline that editors leave. Raises LabError."""
    try:
        password = path.read_text().rstrip("\r\n")
    except OSError as error:
        raise LabError(f"the password file {path} cannot be read: {error.strerror}.") from error
    if not password:
        raise LabError(f"the password file {path} is empty.")
    return password
