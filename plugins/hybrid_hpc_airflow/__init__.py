"""Hybrid HPC's side of Airflow: operators, sensors, triggers and the `hpc_job` task group."""
