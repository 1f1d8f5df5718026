"""The table of a job request's fields in docs/submitting.md: ``python -m docs.request_fields --write``."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from pydantic.fields import FieldInfo

from hybrid_hpc.request import JobRequest
from hybrid_hpc.sbatch_options import options_for
from lab.layout import PROJECT

PAGE = PROJECT / "docs" / "submitting.md"
BEGIN = "<!-- request-fields: made by `python -m docs.request_fields --write` -->\n"
END = "<!-- /request-fields -->\n"


def main() -> int:
    """Print the page with the table of today; ``--write`` puts it into the file."""
    page = with_table(PAGE.read_text())
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(page)
    else:
        sys.stdout.write(page)
    return 0


def with_table(page: str) -> str:
    """Give the page with the table that the code has now."""
    head, _, rest = page.partition(BEGIN)
    return f"{head}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}"


def table() -> str:
    """Give one row a field, in the order of the form."""
    rows = ["| field | what it says | when it is empty |", "|---|---|---|"]
    return "".join(f"{row}\n" for row in [*rows, *_rows()])


def _rows() -> Iterator[str]:
    for name, field in JobRequest.model_fields.items():
        cells = (f"`{name}`", field.description or "", _when_empty(name, field))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _when_empty(name: str, field: FieldInfo) -> str:
    if field.is_required():
        return "refused"
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    options = [f"`{option}`" for option in options_for(name)]
    return ", else ".join(
        [*([", ".join(options)] if options else []), str(extra.get("empty", f"`{field.default}`"))]
    )


if __name__ == "__main__":
    sys.exit(main())
