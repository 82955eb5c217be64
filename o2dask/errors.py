"""The exceptions of o2dask: one root, each subclass also the builtin that a caller would expect.

Knows names only. A message says what, wanted, got, where, and the next step if there is one; the runner adds the
timeframe and the processor with ``add_note``.
"""

__all__ = [
    "CommitError",
    "ConfigError",
    "DataError",
    "FatalError",
    "MissingExtraError",
    "O2DaskError",
    "ProcessorError",
    "ShapeError",
    "SpecError",
    "WorkflowError",
]


class O2DaskError(Exception):
    """Root of all errors that o2dask raises on purpose."""


class ConfigError(O2DaskError, ValueError):
    """A setting of the user cannot work; raised before the first timeframe."""


class SpecError(ConfigError):
    """One declaration (spec, schema, option) is wrong in itself."""


class WorkflowError(ConfigError):
    """Declarations that are fine alone do not fit together (dangling input, two producers, cycle)."""


class ShapeError(O2DaskError, ValueError):
    """Arrays whose shapes or dtypes do not match their declaration."""


class DataError(O2DaskError, ValueError):
    """Input that is damaged or alien; costs its own timeframe only."""


class ProcessorError(O2DaskError, RuntimeError):
    """A processor failed on one timeframe."""


class FatalError(ProcessorError):
    """Raised by a processor that knows that no timeframe can succeed; ends the run."""


class CommitError(O2DaskError, OSError):
    """A result could not be written (disk full, permission)."""


class MissingExtraError(O2DaskError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""
