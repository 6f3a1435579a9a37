"""Facet's client: verify, identify and enrol faces from Python, at a service of your own.

>>> from facet_client import Facet
>>> with Facet("http://127.0.0.1:8000", key) as facet:
...     facet.verify("door.jpg", subject="ann").decision
"""

from facet_client import errors, replies
from facet_client.async_client import AsyncFacet
from facet_client.client import Facet
from facet_client.errors import FacetError, Problem, Unreachable
from facet_client.photographs import Photograph
from facet_client.retries import Retries

__all__ = [
    "AsyncFacet",
    "Facet",
    "FacetError",
    "Photograph",
    "Problem",
    "Retries",
    "Unreachable",
    "errors",
    "replies",
]
