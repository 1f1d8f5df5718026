"""The ledger: our own database of jobs, decisions, usage and requests for nodes.

Importing this brings SQLAlchemy along; a DAG file must not, at module level.
"""

from hybrid_hpc.ledger.rows import DecisionRow, Job, JobRow, ScaleRow
from hybrid_hpc.ledger.store import Ledger
from hybrid_hpc.usage.rows import UsageRow

__all__ = ["DecisionRow", "Job", "JobRow", "Ledger", "ScaleRow", "UsageRow"]
