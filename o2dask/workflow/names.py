"""Help for names that are almost right, and names of algorithms. Knows strings and callables only."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any

__all__ = ["algorithm_path", "did_you_mean", "listed", "word"]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest of the known names, or nothing if none is close."""
    close = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def listed(names: Iterable[object], limit: int = 12) -> str:
    """Return names joined by commas, cut after `limit`, or ``none``."""
    texts = [str(n) for n in names]
    more = f" and {len(texts) - limit} more" if len(texts) > limit else ""
    return ", ".join(texts[:limit]) + more if texts else "none"


def algorithm_path(algorithm: Callable[..., Any]) -> str:
    """Return ``module:qualname`` of a function, a class, or what a `functools.partial` or an instance is made of."""
    inner = getattr(algorithm, "func", algorithm)
    inner = inner if hasattr(inner, "__qualname__") else type(inner)
    return f"{inner.__module__}:{inner.__qualname__}"


def word(policy: Any) -> str:
    """Return a policy's word, or the name of the function that decides instead."""
    return algorithm_path(policy) if callable(policy) else str(policy)
