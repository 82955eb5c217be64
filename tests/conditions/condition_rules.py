"""Which object wins, slow and obvious; and random objects. Shared by the tests of conditions."""

from hypothesis import strategies as st

PATHS = ("TPC/Calib/Gain", "GLO/Config/GRP")
T_MAX = 12


@st.composite
def objects(draw, max_size=8):
    """Draw (path, from, until, created, metadata) in the order in which they are put."""
    made = []
    for _ in range(draw(st.integers(0, max_size))):
        start = draw(st.integers(0, T_MAX - 1))
        end = draw(st.integers(start + 1, T_MAX))
        metadata = draw(st.sampled_from([{}, {"maker": "a"}, {"maker": "b"}, {"maker": "a", "pass": "2"}]))
        made.append((draw(st.sampled_from(PATHS)), start, end, draw(st.integers(1, 5)), metadata))
    return made


limits = st.fixed_dictionaries(
    {},
    optional={
        "created_not_after": st.integers(0, 6),
        "created_not_before": st.integers(0, 6),
        "metadata": st.sampled_from([{}, {"maker": "a"}, {"maker": "a", "pass": "2"}]),
    },
)


def wins(made, path, t, created_not_after=None, created_not_before=None, metadata=None):
    """Return the number of the object that wins, None if none is valid."""
    best = None
    for i, (p, start, end, created, said) in enumerate(made):
        if p != path or t < start or t >= end:
            continue
        if created_not_after is not None and created > created_not_after:
            continue
        if created_not_before is not None and created < created_not_before:
            continue
        if any(said.get(k) != v for k, v in (metadata or {}).items()):
            continue
        if best is None or created >= made[best][3]:
            best = i
    return best
