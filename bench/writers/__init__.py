"""Language models that write or judge: loaded here, or behind an endpoint."""

from bench.writers.base import Answer, Done, Order, Writer, cut
from bench.writers.endpoint import EndpointWriter
from bench.writers.local import LocalWriter, as_message, asked, load_local

__all__ = [
    "Answer",
    "Done",
    "EndpointWriter",
    "LocalWriter",
    "Order",
    "Writer",
    "as_message",
    "asked",
    "cut",
    "load_local",
]
