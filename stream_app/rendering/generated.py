"""Every file of the repository that is generated from the catalogue."""

from collections.abc import Sequence
from typing import NamedTuple

from stream_app.metrics.catalogue import FAMILIES
from stream_app.rendering.metrics_page import metrics_page


class Generated(NamedTuple):
    """A file: its path in the repository, and what it holds. Its first line says that it is generated."""

    path: str
    content: str


def generated(currency: str = "EUR") -> Sequence[Generated]:
    """Return the files, for a shop that reports in `currency`."""
    return (Generated("docs/metrics.md", metrics_page(FAMILIES, currency)),)
