"""The trigger form comes from the request's fields, and Airflow's Param can take it as it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker  # type: ignore[import-untyped]

from hybrid_hpc.clusters import Clusters, load_clusters
from hybrid_hpc.form import request_schema
from hybrid_hpc.request import JobRequest, read_request

UI_KEYS = {
    "default", "title", "description_md", "section", "type", "format", "examples", "items", "enum",
    "values_display", "minimum", "maximum", "exclusiveMinimum", "pattern",
}  # fmt: skip


@pytest.fixture(scope="module")
def clusters() -> Clusters:
    return load_clusters()


@pytest.fixture(scope="module")
def form(clusters: Clusters) -> dict[str, dict[str, Any]]:
    return request_schema(clusters)


def accepts(field: dict[str, Any], value: object) -> bool:
    """What Airflow's Param.resolve asks of jsonschema: everything but default and description is schema."""
    schema = {key: item for key, item in field.items() if key not in {"default", "description"}}
    return bool(Draft202012Validator(schema, format_checker=FormatChecker()).is_valid(value))


def with_projects(clusters: Clusters, *projects: tuple[str, ...] | None) -> Clusters:
    changed = {
        name: cluster.model_copy(update={"projects": allowed})
        for (name, cluster), allowed in zip(clusters.clusters.items(), projects, strict=True)
    }
    return clusters.model_copy(update={"clusters": changed})


def test_the_form_has_exactly_the_requests_fields_in_their_order(form: dict[str, dict[str, Any]]) -> None:
    assert list(form) == list(JobRequest.model_fields)


def test_every_field_is_a_valid_schema_of_keys_that_the_ui_reads(form: dict[str, dict[str, Any]]) -> None:
    for field in form.values():
        Draft202012Validator.check_schema(field)
        assert set(field) <= UI_KEYS
        assert field["title"]
        assert field["description_md"].endswith(".")
    assert json.loads(json.dumps(form)) == form


def test_every_default_is_valid_for_its_own_field(form: dict[str, dict[str, Any]]) -> None:
    for name, field in form.items():
        assert "default" not in field or accepts(field, field["default"]), name


def test_every_example_is_valid_for_its_own_field(form: dict[str, dict[str, Any]]) -> None:
    examples = [(field, example) for field in form.values() for example in field.get("examples", ())]
    assert examples
    assert all(accepts(field, example) for field, example in examples)


def test_only_name_script_and_cluster_must_be_there(form: dict[str, dict[str, Any]]) -> None:
    assert {name for name, field in form.items() if not accepts(field, None)} == {"name", "script", "cluster"}
    assert "default" not in form["name"]


def test_fields_that_must_be_there_stand_in_the_section_that_is_open(form: dict[str, dict[str, Any]]) -> None:
    assert [name for name, field in form.items() if "section" not in field] == ["name", "script", "cluster"]


def test_sections_are_not_torn_apart(form: dict[str, dict[str, Any]]) -> None:
    sections = [field.get("section") for field in form.values()]
    changes = [new for old, new in zip([None, *sections], sections, strict=False) if old != new]
    assert len(changes) == len(set(changes)) == 3


def test_the_untouched_form_with_a_name_is_a_good_request(form: dict[str, dict[str, Any]]) -> None:
    defaults = {name: field.get("default") for name, field in form.items()}
    request = read_request({**defaults, "name": "hello"})
    assert (request.cpus_per_task, request.walltime_s) == (2, 300)  # from the lines of the example script


def test_an_empty_field_says_what_it_means(form: dict[str, dict[str, Any]]) -> None:
    assert form["nodes"]["description_md"].endswith("Empty: the script's **--nodes**, else 1.")
    assert form["outputs"]["description_md"].endswith("Empty: only the job's printed output comes back.")
    assert form["rerunnable"]["description_md"].endswith("Untouched: the script's **--requeue**, else no.")


def test_no_description_has_code_whose_box_would_cover_the_text_around_it(
    form: dict[str, dict[str, Any]],
) -> None:
    assert not any("`" in field["description_md"] for field in form.values())
    assert "**$SLURM\\_ARRAY\\_TASK\\_ID**" in form["array"]["description_md"]
    assert "**plots/\\*.png**" in form["outputs"]["description_md"]


def test_drop_downs_offer_what_the_clusters_have(form: dict[str, dict[str, Any]]) -> None:
    assert form["cluster"]["enum"] == ["auto", "onprem", "azure"]
    assert form["cluster"]["values_display"]["onprem"] == "On-premises cluster (onprem)"
    assert form["project"]["enum"] == [None, "proj-alpha", "proj-beta"]
    assert form["gpu_type"]["enum"] == [None, "a100"]
    assert form["spot"]["enum"] == [None, "never", "allowed"]
    assert not accepts(form["cluster"], "nowhere")


def test_a_project_can_be_typed_when_a_cluster_takes_every_project(clusters: Clusters) -> None:
    project = request_schema(with_projects(clusters, ("proj-alpha",), None))["project"]
    assert "enum" not in project
    assert project["examples"] == ["proj-alpha"]
    assert accepts(project, "proj-other")


def test_a_site_without_projects_offers_none(clusters: Clusters) -> None:
    assert request_schema(with_projects(clusters, None, None))["project"].get("examples") in (None, [])


def test_lists_are_entered_one_a_line_blank_lines_included(form: dict[str, dict[str, Any]]) -> None:
    for name in ("modules", "outputs"):
        assert form[name]["items"] == {"type": "string"}
        assert "examples" not in form[name]  # with examples the UI shows a fixed choice
        assert accepts(form[name], ["gcc/12", ""])


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("name", "a b"),
        ("nodes", 0),
        ("nodes", "2"),
        ("memory_per_node", "lots"),
        ("walltime", "1d"),
        ("array", "a"),
        ("max_cost_usd", 0),
        ("environment", "A=1"),
    ],
)
def test_airflow_itself_refuses_what_is_plainly_wrong(
    form: dict[str, dict[str, Any]], name: str, wrong: object
) -> None:
    assert not accepts(form[name], wrong)


def test_a_field_of_few_words_is_a_drop_down_of_just_these() -> None:
    fields = request_schema(load_clusters())
    offered = {name: fields[name]["enum"] for name in ("on_blocked", "on_node_failure", "spot")}
    assert offered == {
        "on_blocked": [None, "move", "wait", "fail"],
        "on_node_failure": [None, "fail", "resubmit"],
        "spot": [None, "never", "allowed"],
    }
