"""ZDC channels: O2zdc_001 stores the channels that fired, these give one channel for every BC."""

# Formula bodies are bare: arrays in, an array out.
# mypy: allow-untyped-defs, allow-untyped-calls, no-warn-return-any

from collections.abc import Callable
from typing import Any

import numpy as np

from o2dask.analysis.formulas.registry import register

TREE = ("O2zdc_001",)
NOTHING = np.float32(-np.inf)
CHANNELS = {"ZEM1": 12, "ZEM2": 13, "ZNA": 0, "ZNC": 14, "ZPA": 6, "ZPC": 20}
"""The common channels (`enums.zdc_channels` of the model)."""
SECTORS = {"ZNA": 1, "ZNC": 15, "ZPA": 7, "ZPC": 21}
"""The first of the four sector channels."""


def of_channel(values: Any, channels: Any, channel: int) -> np.ndarray:
    """Return the first value of each row whose channel is `channel`, -inf where there is none, (n,) float32.

    Parameters
    ----------
    values, channels : ak.Array, n * var
        Values and their channels, of equal counts.
    """
    import awkward as ak

    return ak.to_numpy(ak.fill_none(ak.firsts(values[channels == channel]), NOTHING)).astype(np.float32)


def _energy(channel: int) -> Callable[..., np.ndarray]:
    return lambda energy, channelE: of_channel(energy, channelE, channel)


def _sector(first: int) -> Callable[..., np.ndarray]:
    return lambda energy, channelE: np.stack([of_channel(energy, channelE, first + i) for i in range(4)], axis=-1)


def _time(channel: int) -> Callable[..., np.ndarray]:
    return lambda time, channelT: of_channel(time, channelT, channel)


def _amplitude(channel: int) -> Callable[..., np.ndarray]:
    return lambda amplitude, channelT: of_channel(amplitude, channelT, channel)


for _name, _channel in CHANNELS.items():
    _common = "" if _name.startswith("ZEM") else "Common"
    register(TREE, f"energy{_common}{_name}", _energy(_channel), text=f"Return the energy in {_name}; -inf: none.")
    register(TREE, f"time{_name}", _time(_channel), unit="ns", text=f"Return the time of {_name}; -inf: none.")
    register(TREE, f"amplitude{_name}", _amplitude(_channel), text=f"Return the amplitude of {_name}; -inf: none.")
for _name, _first in SECTORS.items():
    _text = f"Return the energies in the four sectors of {_name}, (n, 4); -inf: none."
    register(TREE, f"energySector{_name}", _sector(_first), text=_text)
