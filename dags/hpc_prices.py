"""Azure's retail prices, brought into the ledger once a week."""

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable

from hybrid_hpc_airflow.prices import RefreshPricesOperator

DOC = """
### Prices

Asks Azure's public Retail Prices API (`prices.azure.com`, no login) for the VM sizes and regions of
clusters.yaml and adds what it says today to the ledger, in which older prices stay. They count where
CycleCloud does not know what a VM costs, in `python -m hybrid_hpc estimate`, and in the doctor's comparison;
the placement goes by clusters.yaml.

It is paused until you unpause it: it is the only DAG that talks to the internet. Without it the copy of the
prices in `include/azure_prices.csv` counts.
"""

with DAG(
    "hpc_prices",
    dag_display_name="Azure's prices",
    description="Brings today's retail prices of Azure into the ledger",
    doc_md=DOC,
    schedule=CronTriggerTimetable("30 5 * * 1", timezone="UTC"),
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    tags=["hpc", "admin"],
):
    RefreshPricesOperator(
        task_id="refresh_prices",
        task_display_name="Bring today's prices",
        retries=3,
        retry_delay=timedelta(minutes=10),
    )
