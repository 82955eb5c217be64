"""When bunches meet: filling schemes, colliding bunch crossings at Point 2, collisions of a timeframe in them.

Knows bunch slots and rates, no event. A scheme is written as a short text: comma-separated trains
``START:BUNCHESxSPACING``, each optionally repeated, ``*TIMES+PERIOD``, as often as needed; all in bunch slots of
24.95 ns. Both beams are filled alike; slots in the abort gap stay empty.
"""

import re
from functools import cache

import numpy as np

from o2dask.errors import ConfigError
from o2dask.timeframe import BCS_PER_ORBIT, ORBIT_NS

__all__ = ["FILLING", "bunch_slots", "colliding_bcs", "mean_per_crossing", "parse_rate", "place_collisions"]

FILLING = {
    "pbpb": "0:56x2*6+148*4+891",
    "pp": "0:36x1*5+43*3+240*4+891,720:36x1*3+43*4+891",
}
"""Default schemes. Pb-Pb: 50 ns trains of 56 bunches, 6 per quarter of the ring, as in 2023 and 2024 (about 1300
bunches per beam). pp: 25 ns trains of 5 x 36 and 3 x 36 bunches with 200 ns between, as in 2022 to 2024 (about 2500).
The fourfold period makes trains meet at Point 2, an eighth of the ring from Point 1."""
ABORT_GAP = 119
"""Empty slots before the end of the orbit, for the beam dump's kicker to rise (3 us; LHC Design Report, chapter 17)."""
P2_OFFSET_A, P2_OFFSET_C = 344, 3017
"""Bunch slot 0 of either beam meets BC 344 and 3017 at Point 2: bc = (bunch + offset) mod 3564 (AliceO2
LHCConstants.h)."""
_TRAIN = re.compile(r"^(?P<start>\d+):(?P<bunches>\d+)x(?P<spacing>\d+)(?P<repeats>(\*\d+\+\d+)*)$")
_RATE = re.compile(r"^\s*(?P<number>[0-9.]+(e[+-]?\d+)?)\s*(?P<unit>(k|M)?(Hz)?)\s*$", re.IGNORECASE)


@cache
def bunch_slots(scheme: str) -> np.ndarray:
    """Return the filled bunch slots of a beam, ascending int64; `scheme` is a name of `FILLING` or a description.

    >>> bunch_slots("0:3x2*2+10").tolist()
    [0, 2, 4, 10, 12, 14]
    """
    filled: list[np.ndarray] = []
    for text in FILLING.get(scheme, scheme).split(","):
        match = _TRAIN.match(text.strip())
        if not match:
            raise ConfigError(
                f"filling scheme {scheme!r}: want {', '.join(FILLING)} or trains START:BUNCHESxSPACING[*TIMES+PERIOD], "
                f"got {text!r}"
            )
        slots = int(match["start"]) + np.arange(int(match["bunches"])) * int(match["spacing"])
        for times, period in re.findall(r"\*(\d+)\+(\d+)", match["repeats"]):
            slots = (np.arange(int(times))[:, None] * int(period) + slots).ravel()
            if len(slots) > BCS_PER_ORBIT:
                raise ConfigError(f"filling scheme {scheme!r}: more bunches than the {BCS_PER_ORBIT} slots of an orbit")
        filled.append(slots)
    bunches = np.unique(np.concatenate(filled))
    bunches = bunches[bunches < BCS_PER_ORBIT - ABORT_GAP]
    bunches.flags.writeable = False
    return bunches


@cache
def colliding_bcs(scheme: str) -> np.ndarray:
    """Return the BCs of an orbit in which bunches of both beams meet at Point 2, ascending int64."""
    slots = bunch_slots(scheme)
    beam_a, beam_c = (slots + P2_OFFSET_A) % BCS_PER_ORBIT, (slots + P2_OFFSET_C) % BCS_PER_ORBIT
    bcs = np.intersect1d(beam_a, beam_c)
    if not len(bcs):
        raise ConfigError(f"filling scheme {scheme!r}: no bunches meet at Point 2; repeat trains with a period of 891")
    bcs.flags.writeable = False
    return bcs


def mean_per_crossing(rate_hz: float, scheme: str) -> float:
    """Return the mean number of collisions per colliding BC that gives an interaction rate [Hz]."""
    return rate_hz * ORBIT_NS * 1e-9 / len(colliding_bcs(scheme))


def place_collisions(
    rng: np.random.Generator, scheme: str, n_orbits: int, *, rate_hz: float = 0.0, collisions: int | None = None
) -> np.ndarray:
    """Return the BCs since the start of a timeframe of its collisions, ascending int64; one BC may have several.

    With `collisions` their number is fixed, otherwise each colliding BC has a Poisson number of them at `rate_hz`
    (drawn as the Poisson total, placed uniformly: the same distribution).
    """
    bcs = colliding_bcs(scheme)
    n_crossings = len(bcs) * n_orbits
    if collisions is None:
        collisions = int(rng.poisson(mean_per_crossing(rate_hz, scheme) * n_crossings))
    orbit, which = np.divmod(np.sort(rng.integers(0, n_crossings, collisions)), len(bcs))
    return orbit * BCS_PER_ORBIT + bcs[which]


def parse_rate(text: str | float) -> float:
    """Return the rate [Hz] written as ``50kHz``, ``0.5MHz`` or a number of Hz.

    >>> parse_rate("50 kHz")
    50000.0
    """
    match = _RATE.match(str(text))
    try:
        number = float(match["number"]) if match else -1.0
    except ValueError:
        number = -1.0
    if match is None or number < 0:
        raise ConfigError(f"interaction rate: want a number of Hz or such as 50kHz, got {text!r}")
    return number * {"k": 1e3, "m": 1e6}.get(match["unit"][:1].lower(), 1.0)
