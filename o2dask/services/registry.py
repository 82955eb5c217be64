"""Which services there are, and who gets which instance. Knows no particular service.

A class says of itself that it is a service, so that one from a user's file is one on workers too, which get the class
by value and never run the decorator.
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np

from o2dask.errors import SpecError

if TYPE_CHECKING:
    from o2dask.context import ProcessingContext

__all__ = ["ServiceRegistry", "is_service", "list_services", "register_service", "service"]

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


def register_service(kind: type[T], build: "Callable[[ProcessingContext], T]", per: str = "worker") -> None:
    """Make a class of another package a service, built by ``build(ctx)``; in a module that workers import too."""
    if per not in _KINDS:
        raise SpecError(f"service: want one per {', '.join(_KINDS)}, got {per!r}")
    _others[kind] = per, build
    _known[kind.__name__] = kind


def is_service(kind: type) -> bool:
    """Return whether there is such a service."""
    return kind in _others or _MARK in vars(kind)


def list_services() -> dict[str, str]:
    """Return the services known in this process: name to the first line of what they say of themselves."""
    return {name: (kind.__doc__ or "").partition("\n")[0] for name, kind in sorted(_known.items())}


class ServiceRegistry:
    """The services of one context, by type."""

    __slots__ = ("_ctx",)

    def __init__(self, ctx: "ProcessingContext") -> None:
        self._ctx = ctx

    def __getitem__(self, kind: type[T]) -> T:
        if not is_service(kind):
            raise SpecError(missing_service(kind))
        per, build = _others[kind] if kind in _others else (getattr(kind, _MARK), getattr(kind, "create", None))
        ctx = self._ctx

        def make() -> T:
            return kind() if build is None else build(ctx)

        if per == "timeframe":
            return make()
        key = ("service", kind) if per == "worker" else ("service", kind, ctx.spec.name)
        return ctx.state.get(key, make)

    def __contains__(self, kind: type) -> bool:
        return is_service(kind)


def missing_service(kind: type) -> str:
    """Return what to tell who asks for a service that there is not."""
    name, known = getattr(kind, "__name__", repr(kind)), ", ".join(sorted(_known))
    return f"no service {name}; there are {known}; make one with @o2dask.service or register_service"


register_service(np.random.Generator, lambda ctx: ctx.rng, per="timeframe")
register_service(logging.LoggerAdapter, lambda ctx: ctx.log, per="timeframe")
