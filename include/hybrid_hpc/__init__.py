"""Hybrid HPC without Airflow: requests, placement, schedulers, submission, watch, ledger."""
