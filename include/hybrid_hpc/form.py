"""The trigger form, made from the fields of `JobRequest` and from what the clusters offer.

Each field becomes what Airflow's ``Param(**schema)`` takes. What the UI of Airflow 3.3 makes of it:
the first type that is not null picks the widget; a field whose type may be null is optional; an enum is a
drop-down; examples of a text are proposals; a list of texts without examples is entered one a line; fields
without a section stand in the section that is open at first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hybrid_hpc.clusters import Clusters
from hybrid_hpc.request import JobRequest
from hybrid_hpc.sbatch_options import options_for

_KEPT = (
    "title",
    "section",
    "type",
    "format",
    "examples",
    "items",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "pattern",
)
_NULL = "null"


def request_schema(clusters: Clusters) -> dict[str, dict[str, Any]]:
    """Field -> keyword arguments of Airflow's Param, in the order of the form.

    Only a required field has no null among its types; ``script`` starts with an example, ``name`` has no
    ``default``, so that every job is named by a person.
    """
    schema = JobRequest.model_json_schema()
    fields = {
        name: _param(name, field, required=name in schema["required"])
        for name, field in schema["properties"].items()
    }
    few = {name: _drop_down(field["enum"]) for name, field in schema["properties"].items() if "enum" in field}
    for name, choices in (few | _choices(clusters)).items():
        fields[name].update(choices)
    return fields


def _param(name: str, field: Mapping[str, Any], *, required: bool) -> dict[str, Any]:
    flat = {**field, **_of_any(field)}
    param = {key: flat[key] for key in _KEPT if key in flat}
    param["description_md"] = _for_the_ui(f"{field['description']}{_when_empty(name, flat)}")
    if required:
        return {**_start(field), **param}
    return {"default": None, **param, "type": [flat["type"], _NULL]}


def _of_any(field: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of ``anyOf`` that is not null: pydantic's way to say *optional*, which the UI cannot read."""
    kinds: Sequence[Mapping[str, Any]] = field.get("anyOf", ())
    return next((kind for kind in kinds if kind["type"] != _NULL), {})


def _start(field: Mapping[str, Any]) -> dict[str, Any]:
    return {"default": field["form_default"]} if "form_default" in field else {}


def _when_empty(name: str, field: Mapping[str, Any]) -> str:
    """What a field that is left empty means: first the script's line, then the default."""
    if "empty" not in field:
        return ""
    options = options_for(name)
    lines = f"the script's `{options[0]}`, else " if options else ""
    untouched = "Untouched" if field["type"] == "boolean" else "Empty"  # a switch has no empty state to see
    return f" {untouched}: {lines}{field['empty']}."


def _for_the_ui(markdown: str) -> str:
    """Bold where Markdown has code: the UI's code boxes cover the lines of text around them."""
    return re.sub(r"`([^`]+)`", _bold, markdown)


def _bold(code: re.Match[str]) -> str:
    plain = re.sub(r"[*_\\]", r"\\\g<0>", code[1])  # these would mean something in Markdown
    return f"**{plain}**"


def _choices(clusters: Clusters) -> dict[str, dict[str, Any]]:
    """Drop-downs of what the clusters offer; a project that is not listed may be right on some cluster."""
    titles = {name: f"{clusters.cluster(name).title} ({name})" for name in clusters.names}
    chosen = {
        "cluster": {
            "default": "auto",
            "type": "string",
            "enum": ["auto", *clusters.names],
            "values_display": {"auto": "auto: the one that fits best", **titles},
        },
        "gpu_type": _drop_down(clusters.gpu_types),
    }
    if all(cluster.projects is not None for cluster in clusters.clusters.values()):
        return {**chosen, "project": _drop_down(clusters.projects)}
    return {**chosen, "project": {"examples": list(clusters.projects)}}


def _drop_down(values: Sequence[str]) -> dict[str, Any]:
    if not values:
        return {}
    shown = {value: value for value in values}
    return {"enum": [None, *values], "values_display": {_NULL: "not given", **shown}}
