"""ROOT files in memory: what uproot writes, and a lone vector, which it does not. Shared by the tests of conditions."""

import io
import struct

import uproot


class Kept(io.BytesIO):
    """Can be read after it was closed."""

    def close(self):
        """Stay open."""


def root_file(**objects):
    """Return a ROOT file with the objects."""
    sink = Kept()
    with uproot.recreate(sink) as file:
        for name, value in objects.items():
            file[name] = value
    return sink.getvalue()


def root_vector(values, has_header=True, n_lost=0):
    """Return a ROOT file with a ``std::vector<Long64_t>`` as ``ccdb_object``, as CCDB has the time of orbit 0."""
    raw = struct.pack(">i", len(values)) + struct.pack(f">{len(values)}q", *values)[: 8 * (len(values) - n_lost)]
    if has_header:
        raw = struct.pack(">IH", 0x40000000 | (len(raw) + 2), 9) + raw
    sink = Kept()
    with uproot.recreate(sink) as file:
        file._cascading.add_object(file._file.sink, "vector<Long64_t>", "ccdb_object", "", raw, len(raw))
    return sink.getvalue()
