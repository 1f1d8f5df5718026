"""Writes docker-compose.yaml anew: ``python -m lab.compose``; ``--check`` says whether it is current."""

from __future__ import annotations

import sys
from importlib.metadata import version

from jinja2 import Environment, PackageLoader, StrictUndefined

from lab import compose_settings
from lab.layout import PROJECT

FILE = PROJECT / "docker-compose.yaml"
STALE = "docker-compose.yaml is not what lab/compose_settings.py gives; run: python -m lab.compose"


def main() -> int:
    """Write the file, or with ``--check`` compare; gives the exit status."""
    if sys.argv[1:] == ["--check"]:
        current = FILE.is_file() and FILE.read_text() == render()
        print("docker-compose.yaml: current" if current else STALE)
        return 0 if current else 1
    FILE.write_text(render())
    return 0


def render() -> str:
    """Give the text of docker-compose.yaml."""
    templates = Environment(
        loader=PackageLoader("lab"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - a configuration file, no HTML
    )
    templates.filters["yaml"] = _quoted
    return templates.get_template("docker-compose.yaml.j2").render(
        settings=compose_settings,
        environment=compose_settings.environment(),
        first_steps=compose_settings.first_steps(),
        required=compose_settings.required(),
        airflow=version("apache-airflow"),
    )


def _quoted(value: str) -> str:
    """Quote a value for YAML: between single quotes only the quote itself is special."""
    return "'" + value.replace("'", "''") + "'"


if __name__ == "__main__":
    sys.exit(main())
