"""A job request: what a scientist asks for, checked.

The fields of `JobRequest` are the only list of what can be asked: the trigger form (`form`), the REST API
and the task group all come from it. Titles and descriptions here are what people read in the form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails

from hybrid_hpc import field_types as types
from hybrid_hpc.directives import ScriptDefaults, read_directives, script_notes
from hybrid_hpc.errors import InvalidRequest, Problem
from hybrid_hpc.problems import WrongValueError, did_you_mean, problem_of, shown
from hybrid_hpc.units import (
    ARRAY_PATTERN,
    MEMORY_PATTERN,
    WALLTIME_PATTERN,
    parse_array,
    parse_memory,
    parse_walltime,
)

EXAMPLE_SCRIPT = """\
#!/bin/bash
#SBATCH --cpus-per-task=2
#SBATCH --time=00:05:00

echo "Hello from $(hostname)"
echo "Named under 'Files to bring back', this file comes back" > hello.txt
"""

_SHAPE = "What the job needs"
_TERMS = "Time, money and project"
_FILES = "Files and environment"


def _form(section: str, empty: str = "", pattern: str = "") -> dict[str, Any]:
    """For the form: the section, what an empty field means, and the pattern of the whole text."""
    told = {"section": section, "empty": empty, "pattern": pattern and f"^({pattern})$"}
    return {key: value for key, value in told.items() if value}


class JobRequest(BaseModel):
    """What a scientist asks for. Immutable; memory in the text form of Slurm, see the properties for numbers.

    Raises pydantic's ValidationError; `read_request` gives the same as `InvalidRequest` in words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", title="Job request")

    name: types.Name = Field(
        title="Name",
        description="What you call this job, such as `relax-cu111`: letters, digits and `. _ + -`.",
        json_schema_extra=_form("", pattern=types.NAME_PATTERN),
    )
    script: types.Script = Field(
        title="Script",
        description="Your batch script, as you would hand it to `sbatch`. Its `#SBATCH` lines count for "
        "every field below that you leave empty.",
        json_schema_extra={"format": "multiline", "form_default": EXAMPLE_SCRIPT},
    )
    cluster: types.ClusterName = Field(
        "auto",
        title="Cluster",
        description="`auto` takes the cluster that fits best and tells you why; or pick one.",
    )
    nodes: types.Count = Field(
        1,
        ge=1,
        le=10_000,
        title="Nodes",
        description="How many nodes the job runs on.",
        json_schema_extra=_form(_SHAPE, "1"),
    )
    tasks_per_node: types.Count = Field(
        1,
        ge=1,
        le=4_096,
        title="Tasks per node",
        description="How many processes (MPI ranks) each node runs.",
        json_schema_extra=_form(_SHAPE, "1"),
    )
    cpus_per_task: types.Count = Field(
        1,
        ge=1,
        le=4_096,
        title="Cores per task",
        description="How many cores each process gets, for its threads.",
        json_schema_extra=_form(_SHAPE, "1"),
    )
    memory_per_node: types.Memory | None = Field(
        None,
        title="Memory per node",
        description="With a unit: `500M`, `4G`. A plain number is MiB.",
        examples=["4G", "16G", "64G", "200G"],
        json_schema_extra=_form(_SHAPE, "what the cluster gives with the cores", MEMORY_PATTERN),
    )
    gpus_per_node: types.Count = Field(
        0,
        ge=0,
        le=64,
        title="GPUs per node",
        description="How many GPUs each node must give.",
        json_schema_extra=_form(_SHAPE, "none"),
    )
    gpu_type: types.GpuType | None = Field(
        None,
        title="GPU type",
        description="The kind of GPU, if it matters to you.",
        json_schema_extra=_form(_SHAPE, "the type in the script's GPU lines", types.GPU_TYPE_PATTERN),
    )
    walltime: types.Walltime = Field(
        "01:00:00",
        title="Walltime",
        description="The longest the job may run before it is ended: `HH:MM:SS`, `D-HH:MM:SS`, or minutes. "
        "A closer guess often starts sooner.",
        examples=["00:10:00", "01:00:00", "12:00:00", "1-12:00:00"],
        json_schema_extra=_form(_SHAPE, "one hour", WALLTIME_PATTERN),
    )
    array: types.ArrayText | None = Field(
        None,
        title="Array",
        description="Runs the script once for each index, which it finds in `$SLURM_ARRAY_TASK_ID`. "
        "`0-9` is ten tasks, `0-9%4` four of them at a time.",
        examples=["0-9", "0-99%10", "1,3,5-7"],
        json_schema_extra=_form(_SHAPE, "a single job", ARRAY_PATTERN),
    )
    deadline: types.Deadline | None = Field(
        None,
        title="Deadline",
        description="When you need the result. Clusters that cannot make it are passed over.",
        json_schema_extra=_form(_TERMS, "no deadline"),
    )
    max_cost_usd: float | None = Field(
        None,
        gt=0,
        le=1e9,
        allow_inf_nan=False,
        title="Maximum cost (USD)",
        description="The most the job may cost if it uses its whole walltime.",
        json_schema_extra=_form(_TERMS, "no limit"),
    )
    project: types.Project | None = Field(
        None,
        title="Project",
        description="Who the core-hours are booked to (the account, for Slurm).",
        json_schema_extra=_form(_TERMS, "your own default on the cluster", types.PROJECT_PATTERN),
    )
    rerunnable: bool = Field(
        False,
        title="May be run again",
        description="Switch on if the job may start over from the beginning when its node is lost.",
        json_schema_extra=_form(_TERMS, "no"),
    )
    on_node_failure: Literal["fail", "resubmit"] = Field(
        "fail",
        title="When its nodes fail",
        description="What to do when the job is lost with its nodes, or they never came: tell you, or submit "
        "it anew, as often as the site allows. For the tasks of an array, use the switch above.",
        json_schema_extra=_form(_TERMS, "tell you"),
    )
    on_blocked: Literal["move", "wait", "fail"] = Field(
        "move",
        title="When its cluster cannot run it",
        description="What to do when no nodes can be had for the waiting job (a quota, no capacity, a closed "
        "partition): move it to a cluster that can run it, wait, or end it. A job that you gave to one "
        "cluster waits.",
        json_schema_extra=_form(_TERMS, "move it"),
    )
    spot: Literal["never", "allowed"] = Field(
        "never",
        title="Spot nodes",
        description="`allowed`: it may run on cheaper nodes that Azure can take back at any time, and does "
        "where that pays in spite of the risk. When it is evicted it starts over from the beginning: on "
        "spot nodes again, then on nodes that stay. When no spot node can be had, it gets those at once.",
        json_schema_extra=_form(_TERMS, "never"),
    )
    outputs: types.Outputs = Field(
        [],
        title="Files to bring back",
        description="Paths or patterns inside the run directory, one a line: `result.csv`, `plots/*.png`.",
        json_schema_extra=_form(_FILES, "only the job's printed output comes back"),
    )
    modules: types.Modules = Field(
        [],
        title="Modules",
        description="Loaded before your script starts, one a line: `openmpi/4.1.5`.",
        json_schema_extra=_form(_FILES, "none"),
    )
    environment: types.Environment = Field(
        {},
        title="Environment",
        description='Variables for your script: `{"OMP_NUM_THREADS": "4"}`. No passwords: others see them.',
        json_schema_extra=_form(_FILES, "none"),
    )
    working_directory: types.Directory | None = Field(
        None,
        title="Working directory",
        description="Where the script starts: a folder inside the run directory, such as `work`, or an "
        "absolute path on the cluster.",
        json_schema_extra=_form(_FILES, "the run directory", types.PATH_PATTERN),
    )

    @field_validator("gpu_type")
    @classmethod
    def _gpu_type_has_gpus(cls, gpu_type: str | None, info: ValidationInfo) -> str | None:
        if gpu_type and info.data.get("gpus_per_node") == 0:
            raise WrongValueError(f"{gpu_type} is given, but no GPU is asked for", "Say how many a node.")
        return gpu_type

    @field_validator("on_node_failure")
    @classmethod
    def _an_array_is_not_resubmitted(cls, policy: str, info: ValidationInfo) -> str:
        if policy == "resubmit" and info.data.get("array"):
            what = "cannot be resubmit for an array: tasks that have ended well would run again"
            raise WrongValueError(what, "Set rerunnable instead: the cluster starts lost tasks over.")
        return policy

    @field_validator("spot")
    @classmethod
    def _an_array_on_spot_is_rerunnable(cls, spot: str, info: ValidationInfo) -> str:
        if spot == "allowed" and info.data.get("array") and not info.data.get("rerunnable", True):
            what = "cannot be allowed for an array whose tasks may not be run again"
            raise WrongValueError(what, "Set rerunnable, too: the cluster starts evicted tasks over.")
        return spot

    @property
    def memory_per_node_mib(self) -> int | None:
        """MiB on each node; None when the request leaves it to the cluster."""
        return None if self.memory_per_node is None else parse_memory(self.memory_per_node)

    @property
    def walltime_s(self) -> int:
        """The walltime in seconds."""
        return parse_walltime(self.walltime)

    @property
    def allows_spot(self) -> bool:
        """True when it may run on nodes that may be evicted."""
        return self.spot == "allowed"

    @property
    def cores_per_node(self) -> int:
        """Cores on each node."""
        return self.tasks_per_node * self.cpus_per_task

    @property
    def cores(self) -> int:
        """Cores on all nodes together; of an array, for one task."""
        return self.nodes * self.cores_per_node

    @property
    def gpus(self) -> int:
        """GPUs on all nodes together; of an array, for one task."""
        return self.nodes * self.gpus_per_node

    @property
    def array_tasks(self) -> int:
        """How many tasks the array has; 1 when there is none."""
        return len(parse_array(self.array).indices) if self.array else 1

    @property
    def array_limit(self) -> int | None:
        """How many tasks of the array may run at once; None when all may."""
        return parse_array(self.array).limit if self.array else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about the script's ``#SBATCH`` lines: which were left out, and why."""
        return script_notes(self.script)


def read_request(values: Mapping[str, object]) -> JobRequest:
    """The request in raw ``values``: a form's, an API call's or a task group's.

    None, an empty text, list or mapping means *not given*. A field that is not given takes what the
    script's ``#SBATCH`` lines say, then its own default. Raises `InvalidRequest` with one problem a field;
    names that are no field are refused.
    """
    if not isinstance(values, Mapping):
        what = f"needs fields with values, not {shown(values)}"
        raise InvalidRequest([Problem("request", what, "Send a JSON object.")])
    known = JobRequest.model_fields
    given = {name: value for name, value in values.items() if name not in known or not _not_given(value)}
    defaults = _script_defaults(given.get("script"), given)
    try:
        request = JobRequest.model_validate({**_values(defaults), **given})
    except ValidationError as error:
        raise InvalidRequest([*_problems(error, defaults), *defaults.problems]) from None
    if defaults.problems:
        raise InvalidRequest(defaults.problems)
    return request


def _not_given(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip()) or value in ([], (), {})


def _values(defaults: ScriptDefaults) -> dict[str, object]:
    return {name: default.value for name, default in defaults.fields.items()}


def _script_defaults(script: object, given: Mapping[str, object]) -> ScriptDefaults:
    """Nothing when the script itself cannot be taken: its field says why."""
    try:
        return read_directives(types.clean_script(str(script or "")), given)
    except WrongValueError:
        return ScriptDefaults({}, ())


def _problems(error: ValidationError, defaults: ScriptDefaults) -> list[Problem]:
    """One problem a field, the first one found."""
    found: dict[str, Problem] = {}
    for details in error.errors(include_url=False):
        problem = _problem(details, defaults)
        found.setdefault(problem.where, problem)
    return list(found.values())


def _problem(details: ErrorDetails, defaults: ScriptDefaults) -> Problem:
    name, inside = str(details["loc"][0]), details["loc"][1:]
    if details["type"] == "extra_forbidden":
        remedy = did_you_mean(name, JobRequest.model_fields)
        return Problem(name if name.isidentifier() else shown(name), "is no field of a job request", remedy)
    problem = problem_of(name, details)
    if inside:
        entry = inside[0] + 1 if isinstance(inside[0], int) else shown(inside[0])
        problem = Problem(name, f"entry {entry}: {problem.what}", problem.remedy)
    if name in defaults.fields:
        line = defaults.fields[name].line
        problem = Problem(name, f"{problem.what} (line {line} of the script)", problem.remedy)
    return problem
