"""One process beside the graph as its keeper sees it: asked over a socket, watched while it answers.

Knows messages and their order; what is asked when, and what a death costs, is the keeper's to say.
"""

import logging
from typing import Any

from o2dask.errors import CommitError
from o2dask.runners.beside_child import COMMAND
from o2dask.runners.beside_plan import BesideUnit
from o2dask.runners.child import BEGUN
from o2dask.runners.payload import send
from o2dask.runners.process import END_S, START_S, ChildProcess
from o2dask.specs import DataProcessorSpec
from o2dask.timeframe import TimeframeRef

__all__ = ["BesideProcess"]


class BesideProcess(ChildProcess):
    """The process of a unit, which answers one question at a time."""

    command = COMMAND
    has_begun = False

    def __init__(self, topology: bytes, spec: DataProcessorSpec, unit: BesideUnit, snapshot: str) -> None:
        self._unit, self._snapshot = unit, snapshot
        super().__init__(topology, spec)

    def _greet(self, topology: bytes, spec: DataProcessorSpec) -> None:
        send(self._sock, (topology, self._unit, self._snapshot))

    def ask(
        self, word: str, source: TimeframeRef | None, path: str, limit_s: float, feedback: tuple[str, ...] = ()
    ) -> Any:
        """Return the answer; LostError if the process died or took too long, ConfigError if it cannot start."""
        self.has_begun = False
        try:
            send(self._sock, (word, source, path, feedback))
        except OSError:
            raise self._died() from None
        begun = self._answer(START_S, "start")
        if begun != BEGUN:
            raise CommitError(str(begun))
        self.has_begun = True
        answer, told = self._answer(limit_s, "deadline")
        _log(told)
        return answer

    def end(self) -> None:
        """Let the processors end; LostError if the process dies of it."""
        try:
            send(self._sock, None)
        except OSError:
            raise self._died() from None
        _log(self._answer(END_S, "deadline"))


def _log(told: list[tuple[str, int, str]]) -> None:
    for name, level, text in told:
        logging.getLogger(name).log(level, "%s", text)
