"""The pages in Airflow's UI and their API: what stands in the ledger, for those who may see it."""
