"""The trigger form of a job: the fields of `JobRequest` as Airflow params, from its JSON schema alone."""

from __future__ import annotations

from airflow.sdk import Param

from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.form import request_schema


def request_params() -> dict[str, Param]:
    """One Airflow param per field of a job request."""
    return {name: Param(**schema) for name, schema in request_schema(load_clusters()).items()}
