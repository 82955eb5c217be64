"""What o2dask logs, caught at its own logger: Dask silences pytest's handlers while a cluster of other tests is up."""

import logging

import pytest


class Catcher(logging.Handler):
    """Keeps messages."""

    def __init__(self):
        super().__init__()
        self.messages = []

    def emit(self, record):
        self.messages.append(record.getMessage())

    @property
    def text(self):
        return "\n".join(self.messages)


@pytest.fixture
def logged():
    """The messages of o2dask, as ``logged.messages`` and ``logged.text``."""
    catcher = Catcher()
    logging.getLogger("o2dask").addHandler(catcher)
    yield catcher
    logging.getLogger("o2dask").removeHandler(catcher)
