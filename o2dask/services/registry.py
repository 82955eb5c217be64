"""Which services there are, and who gets which instance. Knows no particular service.

A class says of itself that it is a service, so that one from a user's file is one on workers too, which get the class
by value and never run the decorator. Classes of others become services by a `ServiceSpec` in the processor that needs
them, which travels with it, or by the entry points of an installed package.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np

from o2dask.errors import ConfigError, SpecError

if TYPE_CHECKING:
    from o2dask.context import ProcessingContext

__all__ = ["GROUP", "ServiceRegistry", "ServiceSpec", "is_service", "list_services", "register_service", "service"]

GROUP = "o2dask.services"
"""Entry point group: a name and a class made by `service`, or a function that calls `register_service`; each process
loads them when it first meets a class that it does not know."""

T = TypeVar("T")
C = TypeVar("C", bound=type)

_MARK = "__o2dask_service__"
_KINDS = ("worker", "processor", "timeframe")
_others: dict[type, tuple[str, Callable[["ProcessingContext"], Any]]] = {}
_known: dict[str, type] = {}


@overload
def service(cls: C) -> C: ...
@overload
def service(*, per: str) -> Callable[[C], C]: ...
def service(cls: Any = None, *, per: str = "worker") -> Any:
    """Make a class a service: one instance per ``worker`` (default), per ``processor`` of it, or per ``timeframe``.

    ::

        @o2.service
        class Geometry:
            @classmethod
            def create(cls, ctx): return cls(ctx.options["path"])     # or no `create`: then Geometry()
            def close(self): ...                                      # if it has to, at the end of the worker

        def run(ctx): ctx.services[Geometry].pad_size(17)
    """
    if per not in _KINDS:
        raise SpecError(f"service: want one per {', '.join(_KINDS)}, got {per!r}")

    def mark(cls: C) -> C:
        setattr(cls, _MARK, per)
        _known[cls.__name__] = cls
        return cls

    return mark if cls is None else mark(cls)


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """A class of another package as a service of one processor: ``services=(o2.ServiceSpec(Fitter, make_fitter),)``.

    `build` gets the context; without one the class is called without arguments. One instance per ``worker``,
    ``processor`` or ``timeframe``; those per worker are shared by processors that say the same.
    """

    kind: type
    build: "Callable[[ProcessingContext], Any] | None" = None
    per: str = "worker"

    def __post_init__(self) -> None:
        if not isinstance(self.kind, type) or not (self.build is None or callable(self.build)):
            raise SpecError(f"service: want a class, and a function that makes one, got {self.kind!r}, {self.build!r}")
        if self.per not in _KINDS:
            raise SpecError(f"service {self.kind.__name__}: want one per {', '.join(_KINDS)}, got {self.per!r}")


def register_service(kind: type[T], build: "Callable[[ProcessingContext], T]", per: str = "worker") -> None:
    """Make a class of another package a service, built by ``build(ctx)``; in a module that workers import too."""
    if per not in _KINDS:
        raise SpecError(f"service: want one per {', '.join(_KINDS)}, got {per!r}")
    _others[kind] = per, build
    _known[kind.__name__] = kind


def is_service(kind: type) -> bool:
    """Return whether there is such a service."""
    if kind in _others or _MARK in vars(kind):
        return True
    _load_installed()
    return kind in _others


def list_services() -> dict[str, str]:
    """Return the services known in this process: name to the first line of what they say of themselves."""
    _load_installed()
    return {name: (kind.__doc__ or "").partition("\n")[0] for name, kind in sorted(_known.items())}


@cache
def _load_installed() -> None:
    """Load what installed packages register."""
    for entry in entry_points(group=GROUP):
        try:
            found = entry.load()
            if not (isinstance(found, type) and is_service(found)):
                found()
        except Exception as error:
            raise ConfigError(
                f"service {entry.name!r} of an installed package: {entry.value} cannot be loaded: "
                f"{type(error).__name__}: {error}; mend or uninstall that package"
            ) from error


class ServiceRegistry:
    """The services of one context, by type."""

    __slots__ = ("_ctx",)

    def __init__(self, ctx: "ProcessingContext") -> None:
        self._ctx = ctx

    def __getitem__(self, kind: type[T]) -> T:
        ctx = self._ctx
        own = next((s for s in ctx.spec.services if isinstance(s, ServiceSpec) and s.kind is kind), None)
        if own is not None:
            per, build = own.per, own.build
        elif is_service(kind):
            per, build = _others[kind] if kind in _others else (getattr(kind, _MARK), getattr(kind, "create", None))
        else:
            raise SpecError(missing_service(kind))

        def make() -> T:
            return kind() if build is None else build(ctx)

        if per == "timeframe":
            return make()
        key = ("service", kind) if per == "worker" else ("service", kind, ctx.spec.name)
        return ctx.state.get(key, make)

    def __contains__(self, kind: type) -> bool:
        return is_service(kind) or any(isinstance(s, ServiceSpec) and s.kind is kind for s in self._ctx.spec.services)


def missing_service(kind: type) -> str:
    """Return what to tell who asks for a service that there is not."""
    name, known = getattr(kind, "__name__", repr(kind)), ", ".join(sorted(_known))
    return f"no service {name}; there are {known}; make one with @o2dask.service, or give a ServiceSpec"


register_service(np.random.Generator, lambda ctx: ctx.rng, per="timeframe")
register_service(logging.LoggerAdapter, lambda ctx: ctx.log, per="timeframe")
