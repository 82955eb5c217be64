"""``o2dask conditions``: put, look at, and freeze conditions, in a folder, a snapshot or on a CCDB server."""

import json
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from o2dask.errors import CommitError, ConfigError

if TYPE_CHECKING:
    from o2dask.conditions import Condition, ConditionFetcher, ConditionHeader

__all__ = ["app", "open_conditions"]

app = typer.Typer(
    add_completion=False, no_args_is_help=True, rich_markup_mode="rich", help="Put, get, list and freeze conditions."
)

Store = Annotated[str, typer.Argument(metavar="STORE", help="Folder, snapshot.zip, or http://host:8080.")]
ObjectPath = Annotated[str, typer.Argument(metavar="PATH", help="TPC/Calib/Gain")]
NotAfter = Annotated[
    str | None, typer.Option("--not-after", metavar="TIME", help="Ignore objects created later than that.")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON, for machines.")]

_TYPES = {".json": "application/json", ".npz": "application/x-npz"} | dict.fromkeys(
    (".arrow", ".feather"), "application/vnd.apache.arrow.file"
)


@app.callback()
def _group() -> None:
    """Conditions: objects with a path and an interval of validity; of those valid at a time the latest created wins.

    TIME is ms since 1970, a date such as 2024-05-01T12:00 (UTC), now, or forever.
    """


@app.command()
def put(
    store: Store,
    path: ObjectPath,
    file: Annotated[Path, typer.Argument(help="Content: .json, .npz, .arrow, or any other file as bytes.")],
    valid_from: Annotated[str, typer.Option("--from", metavar="TIME", help="Valid from then.")] = "0",
    valid_until: Annotated[str, typer.Option("--until", metavar="TIME", help="Not valid from then on.")] = "forever",
    meta: Annotated[list[str], typer.Option(metavar="KEY=VALUE", help="Metadata; repeat it.")] = [],  # noqa: B006
) -> None:
    """Store an object; a folder that is not there is made.

    [b]Examples[/b]

    \b
    o2dask conditions put conditions/ GLO/Config/GRPMagField field.json
    o2dask conditions put conditions/ TPC/Calib/Gain gain.npz --from 2024-05-01 --until 2024-06-01 --meta maker=me
    """
    from o2dask.conditions import Condition, ConditionHeader, WritableStore, open_store

    kind = _TYPES.get(file.suffix.lower())
    try:
        payload = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    start, end = parse_time(valid_from), parse_time(valid_until)
    if kind is not None:  # decoded once, so that what is put can be read
        header = ConditionHeader(
            path=path, valid_from=start, valid_until=end, created=0, etag="new", content_type=kind, size=len(payload)
        )
        _ = Condition(header=header, payload=payload, holds=(start, end), where=str(file)).content
    target = open_store(store, create=True)
    if not isinstance(target, WritableStore):
        raise ConfigError(f"{store}: is read-only; put into a folder or on a server, then make the snapshot again")
    made = target.put(path, payload, start, end, metadata=_metadata(meta), content_type=kind)
    sys.stdout.write(f"{made}: {made.size} bytes, {made.etag}\n")


@app.command()
def get(
    store: Store,
    path: ObjectPath,
    at: Annotated[str, typer.Option(metavar="TIME", help="Valid then.")] = "now",
    not_after: NotAfter = None,
    meta: Annotated[list[str], typer.Option(metavar="KEY=VALUE", help="With this metadata; repeat it.")] = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the content there, as it is stored.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the object that wins at a time, or write its content to a file.

    [b]Examples[/b]

    \b
    o2dask conditions get conditions/ GLO/Config/GRPMagField
    o2dask conditions get http://localhost:8080 TPC/Calib/Gain --at 2024-05-01T12:00 --out gain.npz
    """
    from o2dask.conditions import open_store

    limit = None if not_after is None else parse_time(not_after)
    found = open_store(store).get(path, parse_time(at), created_not_after=limit, metadata=_metadata(meta))
    if out is not None:
        try:
            out.write_bytes(found.payload)
        except OSError as error:
            raise CommitError(f"{out}: cannot be written: {error.strerror}") from None
        sys.stdout.write(f"{found.header}: {out}, {len(found.payload)} bytes\n")
    elif as_json:
        sys.stdout.write(json.dumps(_described(found.header) | {"holds": list(found.holds)}, indent=1) + "\n")
    else:
        _show(found)


@app.command("list")
def list_(
    store: Store,
    pattern: Annotated[str, typer.Argument(help="TPC/*; * takes / too.")] = "*",
    as_json: AsJson = False,
) -> None:
    """List objects: by path, the last created first.

    [b]Examples[/b]

    \b
    o2dask conditions list conditions/
    o2dask conditions list run505673.zip 'TPC/*' --json
    """
    from o2dask.conditions import open_store

    headers = open_store(store).list(pattern)
    if as_json:
        sys.stdout.write(json.dumps([_described(h) for h in headers], indent=1) + "\n")
        return
    from rich.console import Console
    from rich.table import Table

    from o2dask.cli.running import size_text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("path", "from", "until", "created", "size", "type"):
        table.add_column(title, justify="right" if title == "size" else "left", no_wrap=title == "path")
    for h in headers:
        kind = h.metadata.get("ObjectType") or h.content_type.rpartition("/")[2]
        times = [time_text(t) for t in (h.valid_from, h.valid_until, h.created)]
        table.add_row(h.path, *times, size_text(h.size), kind)
    Console().print(table)


@app.command()
def snapshot(
    store: Store,
    file: Annotated[Path, typer.Argument(metavar="SNAPSHOT", help="run505673.zip")],
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="TPC/Calib/Gain, GLO/*")] = [],  # noqa: B006
    workflow: Annotated[
        list[str], typer.Option(metavar="WORKFLOW", help="And whatever this workflow takes; repeat it.")
    ] = [],  # noqa: B006
    run: Annotated[int | None, typer.Option(help="For the whole of this run.")] = None,
    valid_from: Annotated[str | None, typer.Option("--from", metavar="TIME", help="For the time from then...")] = None,
    valid_until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="...to then.")] = None,
    not_after: NotAfter = None,
) -> None:
    """Write the conditions of a run, or of a span of time, to one file that stands in for the store.

    [b]Examples[/b]

    \b
    o2dask conditions snapshot http://localhost:8080 run505673.zip --workflow async --run 505673
    o2dask conditions snapshot conditions/ may.zip 'TPC/*' --from 2024-05-01 --until 2024-06-01
    """
    from o2dask.conditions import RunInfo, load_run_info, open_store
    from o2dask.conditions import snapshot as freeze

    wanted = [*paths, *sorted(conditions_of(workflow))]
    if not wanted:
        raise ConfigError("snapshot: want paths of conditions, or --workflow for those that a workflow takes")
    source = open_store(store)
    limit = None if not_after is None else parse_time(not_after)
    span: tuple[int, int] | RunInfo
    if run is not None and valid_from is None and valid_until is None:
        span = load_run_info(source, run, created_not_after=limit)
    elif run is None and valid_from is not None and valid_until is not None:
        span = (parse_time(valid_from), parse_time(valid_until))
    else:
        raise ConfigError("span of the snapshot: want either --run, or --from and --until")
    made = freeze(source, wanted, span, file, created_not_after=limit)
    n = len(made.list())
    sys.stdout.write(f"{file}: {n} objects for {time_text(made.span[0])} to {time_text(made.span[1])}\n")


@app.command()
def defaults(
    store: Store,
    workflow: Annotated[
        list[str], typer.Option(metavar="WORKFLOW", help="Those of this workflow; default: of all registered ones.")
    ] = [],  # noqa: B006
) -> None:
    """Write what workflows take where they have no store of conditions: to start a store of your own from.

    Objects are valid for ever; of a path that the store has already, none is written.

    [b]Examples[/b]

    \b
    o2dask conditions defaults conditions/
    o2dask conditions get conditions/ GLO/Config/GRPMagField --out field.json    # edit it, then
    o2dask conditions put conditions/ GLO/Config/GRPMagField field.json
    """
    from o2dask.conditions import FOREVER_MS, WritableStore, open_store
    from o2dask.workflow import list_workflows
    from o2dask.workflow.loading import locate

    target = open_store(store, create=True)
    if not isinstance(target, WritableStore):
        raise ConfigError(f"{store}: is read-only; write the defaults to a folder or a server")
    taken = conditions_of(workflow or list(list_workflows()))
    found = {path: default for path, default in taken.items() if default}
    if not found:
        raise ConfigError(f"workflow {', '.join(workflow) or '(none registered)'}: has no condition with a default")
    is_new = "://" not in target.url and not Path(target.url).exists()
    for path, place in sorted(found.items()):
        if not is_new and target.list(path):
            sys.stdout.write(f"{path}: is there already\n")
            continue
        make = locate(place, f"default of {path}")
        told = (make.__doc__ or "").strip().partition("\n")[0]
        made = target.put(path, make(), 0, FOREVER_MS, metadata={"comment": told} if told else {})
        is_new = False
        sys.stdout.write(f"{made}: {made.size} bytes. {told}\n")


def conditions_of(workflows: list[str]) -> dict[str, str]:
    """Return the path of every condition that the workflows take, and its default, module:function or ""."""
    from o2dask.specs import Lifetime
    from o2dask.workflow import load_workflow

    inputs = [i for name in workflows for p in load_workflow(name).processors for i in p.inputs]
    taken = [i for i in inputs if i.lifetime is Lifetime.CONDITION]
    return {i.path or f"{i.origin}/{i.description}": i.default for i in sorted(taken, key=lambda i: bool(i.default))}


@app.command()
def rebuild(folder: Annotated[Path, typer.Argument(help="Folder of conditions.")]) -> None:
    """Make the index of a folder anew from its files, when it is damaged or files were copied in."""
    from o2dask.conditions import LocalStore

    sys.stdout.write(f"{folder}: {LocalStore(folder).rebuild()} objects\n")


def parse_time(text: str) -> int:
    """Return a time in ms since 1970: a number of ms, a date (UTC unless it says otherwise), ``now`` or ``forever``.

    >>> parse_time("1546300800000") == parse_time("2019-01-01") == parse_time("2019-01-01T01:00+01:00")
    True
    """
    from o2dask.conditions import FOREVER_MS

    if text == "forever":
        return FOREVER_MS
    if re.fullmatch(r"\d+", text):
        return int(text)
    try:
        when = datetime.now(UTC) if text == "now" else datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"time: want ms since 1970, a date such as 2024-05-01T12:00, now or forever, got {text!r}"
        ) from None
    return round((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)


def open_conditions(store: str | None, not_after: str | None) -> "ConditionFetcher | None":
    """Return what ``--conditions`` and ``--conditions-not-after`` of a command mean; None without a store."""
    if store is None:
        if not_after is not None:
            raise ConfigError("--conditions-not-after: want --conditions, too")
        return None
    from o2dask.conditions import ConditionFetcher, open_store

    return ConditionFetcher(open_store(store), created_not_after=None if not_after is None else parse_time(not_after))


def time_text(ms: int) -> str:
    """Return a time as people read it.

    >>> time_text(1546300800000), time_text(9999999999999), time_text(505673)
    ('2019-01-01 00:00:00', 'forever', '505673')
    """
    from o2dask.conditions import FOREVER_MS

    if ms >= FOREVER_MS:
        return "forever"
    if ms < 100_000_000_000:  # before 1973: a run number, or a number of a test
        return str(ms)
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def _metadata(given: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    if wrong := [text for text, (key, equals, _) in zip(given, pairs, strict=True) if not (key and equals)]:
        raise ConfigError(f"metadata: want KEY=VALUE, got {wrong[0]!r}")
    return {key.strip(): value.strip() for key, _, value in pairs}


def _described(header: "ConditionHeader") -> dict[str, Any]:
    return {k: v for k, v in header.to_json().items() if k != "sequence"}


def _show(found: "Condition") -> None:
    from o2dask.conditions import ConditionError

    header = found.header
    lines = [f"{header.path}  {header.content_type}, {header.size} bytes, {header.etag}"]
    lines.append(f"valid    {time_text(header.valid_from)} to {time_text(header.valid_until)}")
    lines.append(f"created  {time_text(header.created)}")
    lines += [f"{key}  {value}" for key, value in sorted(header.metadata.items())]
    try:
        content = _of_root(found) if found.payload[:4] == b"root" else found.content
    except ConditionError as error:
        content = f"({error})"
    if isinstance(content, bytes):
        content = f"({len(content)} bytes)"
    sys.stdout.write("\n".join(lines) + f"\n\n{content}\n")


def _of_root(found: "Condition") -> Any:
    """Return what there is to see of a ROOT object: its members, or what uproot makes of it."""
    from o2dask.conditions.content import root_members
    from o2dask.conditions.errors import ConditionError

    try:
        return root_members(found)
    except ConditionError:
        return found.as_root()
