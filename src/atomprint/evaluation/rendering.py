"""From a template to a page: one HTML file, without anything from outside."""

from pathlib import Path
from typing import Any

import jinja2

import atomprint
from atomprint.ground.errors import UsageError


def render(template: str, **values: Any) -> str:
    """Fill a template of this folder; whatever is not `Markup` is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(template).render(version=atomprint.__version__, **values)


def write_page(folder: Path, page: str) -> Path:
    """Write ``report.html`` into a folder and return its path.

    Raises
    ------
    UsageError
        If it cannot be written.
    """
    path = folder / "report.html"
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from None
    return path
