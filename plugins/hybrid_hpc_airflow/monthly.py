"""The task of ``hpc_monthly_report``: one HTML file a month, with all that it shows in it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator, Context, Param, Variable
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.errors import HybridHpcError, Invalid
from hybrid_hpc.months import PATTERN

FOLDER_VARIABLE = "hybrid_hpc_reports"
READERS = 0o640  # its owner and the group: it may name persons
MONTH_PARAMS = {
    "month": Param(
        None,
        type=["null", "string"],
        pattern=f"^{PATTERN}$",
        title="Month",
        description="Such as 2026-03. Left empty, the last one that is over.",
    ),
    "persons": Param(
        True,
        type="boolean",
        title="Name persons",
        description="Who used how much, and what each could ask for less of.",
    ),
}


class MonthlyReportOperator(BaseOperator):
    """Writes the report of a month, anew if it is there.

    It goes into ``folder``, else where the Airflow variable ``hybrid_hpc_reports`` says, else into
    ``reports`` below the Airflow home. Raises `AirflowFailException` for what is no month,
    `AirflowException` when the ledger does not answer or the folder cannot be written.
    """

    ui_color = "#e1eef2"

    def __init__(self, *, folder: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.folder = folder

    def execute(self, context: Context) -> str:
        """The file that was written."""
        params, now = context["params"], datetime.now(UTC)
        try:
            name, text, summary = self._report(params.get("month"), now, persons=bool(params.get("persons")))
            file = write_report(self._reports(), name, text)
        except Invalid as error:
            raise AirflowFailException(str(error)) from error
        except (HybridHpcError, OSError) as error:
            raise AirflowException(f"no report was written: {error}") from error
        self.log.info("%s\n\nwritten to %s, %d kB", summary, file, len(text) // 1000)
        return str(file)

    def _report(self, month: str | None, now: datetime, *, persons: bool) -> tuple[str, str, str]:
        """Its month, the file's text, and what is said of it in the log."""
        from hybrid_hpc.months import month_before, month_window
        from hybrid_hpc.usage.export_report import month_report
        from hybrid_hpc_airflow.connections import open_ledger
        from hybrid_hpc_airflow.web.rendering import report_html

        window = month_window(month or month_before(now))
        report = month_report(open_ledger(), load_clusters(), window, now, persons=persons)
        return report.month, report_html(report), report.summary()

    def _reports(self) -> Path:
        default = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser() / "reports"
        return Path(self.folder or Variable.get(FOLDER_VARIABLE, default=None) or default)


def write_report(folder: Path, month: str, text: str) -> Path:
    """The file, which whoever reads it meanwhile sees as it was before, or whole."""
    folder.mkdir(parents=True, exist_ok=True)
    file, new = folder / f"hpc-{month}.html", folder / f".hpc-{month}.html.new"
    new.touch(mode=READERS)
    new.chmod(READERS)
    new.write_text(text, encoding="utf-8")
    return new.replace(file)
