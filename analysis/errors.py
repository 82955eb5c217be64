"""What can go wrong between a physicist and a table: an unknown name, an unknown column, a row that is not there."""

import difflib
from collections.abc import Iterable

from o2dask.errors import O2DaskError

__all__ = ["RowError", "UnknownColumnError", "UnknownNameError", "close_to"]

LISTED = 30
"""Names listed in a message where none comes close."""


class UnknownNameError(O2DaskError, AttributeError):
    """No table or column of this name in what was asked; the message lists what comes close."""


class UnknownColumnError(O2DaskError, KeyError):
    """No stored table or column under this name of the file."""

    __str__ = Exception.__str__  # KeyError would print the message in quotes


class RowError(O2DaskError, IndexError):
    """A row that the table does not have, or a selection that does not fit it."""


def close_to(name: str, known: Iterable[str]) -> str:
    """Return the known names most like `name` for an error message, or all of them if none is."""
    by_folded = {word.lower(): word for word in known}
    close = difflib.get_close_matches(name.lower(), by_folded, n=4, cutoff=0.6)
    if close:
        return f"did you mean {', '.join(by_folded[word] for word in close)}?"
    names = sorted(by_folded.values())
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"it has {', '.join(names[:LISTED])}{more}" if names else "it has none"
