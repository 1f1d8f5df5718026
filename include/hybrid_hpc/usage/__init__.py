"""What jobs and nodes used and cost: collected from every cluster, kept in the ledger, added up."""
