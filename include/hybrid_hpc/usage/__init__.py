"""What jobs used: collected from the accounting, in the ledger."""
