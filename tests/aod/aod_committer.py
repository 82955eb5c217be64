"""A process for the tests of the sink: commits dataframe after dataframe, prints the number of each one that is in.

``python aod_committer.py OUT N_TRACKS N [LIMIT_BYTES]``: with a limit no file can grow beyond it from the second
dataframe on (RLIMIT_FSIZE), and the error is printed.
"""

import resource
import sys

from conftest import as_outputs, timeframe, valid_dataframe

from o2dask.aod.sink import AodSink
from o2dask.errors import CommitError


def main(out: str, n_tracks: int, n: int, limit: int = 0) -> int:
    sink = AodSink(out, {"workflow": "async"})
    sink.prepare()
    outputs = as_outputs(valid_dataframe(n_tracks))
    for i in range(n):
        try:
            receipt = sink.commit(timeframe(i), outputs)
        except CommitError as error:
            sys.stdout.write(f"error {error}\n")
            return 3
        sys.stdout.write(f"{receipt.timeframe.df_number}\n")
        sys.stdout.flush()
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            outputs = as_outputs(valid_dataframe(20_000))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(int, sys.argv[2:])))
