"""Where each box of a topology goes on a page: tasks in layers, processors in rows inside their task.

Knows names and sizes [px], no drawing. A datum that passes a row gets a lane of its own there, so that no edge crosses
a box; tasks of one layer stand side by side, so that their frames never overlap.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from o2dask.specs import DataProcessorSpec, DataRef, Lifetime
from o2dask.workflow.planner import PhysicalTask
from o2dask.workflow.topology import Topology

__all__ = ["Box", "Edge", "Layout", "lay_out", "subtitle"]

CHAR, BOX_H, PILL_H, LANE = 7.2, 40.0, 17.0, 14.0
"""Width of a letter, heights of a processor and of a datum under it, width of a lane [px]."""
GAP_X, GAP_Y, MARGIN, FRAME, HEAD = 24.0, 54.0, 16.0, 10.0, 22.0
"""Between boxes, between rows, around the page, around the processors of a task, for its title [px]."""
PITCH = BOX_H + PILL_H + GAP_Y


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle [px] with its text."""

    name: str
    x: float
    y: float
    w: float
    h: float


@dataclass(frozen=True, slots=True)
class Edge:
    """A datum from its producer through the points [px] to one consumer."""

    ref: DataRef
    producer: str
    consumer: str
    points: tuple[tuple[float, float], ...]


@dataclass(slots=True)
class Layout:
    """A drawing: its size [px], tasks, processors, a pill per datum, edges, and those on their way back."""

    width: float = 0.0
    height: float = 0.0
    tasks: list[Box] = field(default_factory=list)
    processors: dict[str, Box] = field(default_factory=dict)
    data: dict[DataRef, Box] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    feedback: list[Edge] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Item:
    """What stands in a row: a processor (`ref` is None) or the lane of a datum; `block` is its task, or the lane."""

    row: int
    block: str
    producer: str
    ref: DataRef | None = None


def lay_out(topology: Topology, tasks: Sequence[PhysicalTask]) -> Layout:
    """Return the drawing of a topology, producers above consumers."""
    return _Drawing(topology, tasks).place()


class _Drawing:
    """The steps of a layered drawing after Sugiyama: rows, lanes, order within rows, coordinates."""

    def __init__(self, topology: Topology, tasks: Sequence[PhysicalTask]) -> None:
        self.topology, self.tasks = topology, tasks
        self.task_of = {name: task.name for task in tasks for name in task.processors}
        self.links = list(dict.fromkeys((r.producer, r.ref, r.consumer) for r in topology.routes))
        self.into: dict[str, list[tuple[str, DataRef]]] = defaultdict(list)
        for a, ref, b in self.links:
            self.into[b].append((a, ref))
        self.layer, self.row, self.layer_of_row = self._rows()
        self.chains = [self._chain(*link) for link in self.links]
        self.arriving: dict[str, list[list[_Item]]] = defaultdict(list)
        for link, chain in zip(self.links, self.chains, strict=True):
            self.arriving[link[2]].append(chain)
        self.grid = self._order()

    def _rows(self) -> tuple[dict[str, int], dict[str, int], list[int]]:
        """Return the layer of each task, the row of each processor, the layer of each row."""
        layer = {t.name: 0 for t in self.tasks}
        depth = dict.fromkeys(self.topology.names, 0)
        for task in self.tasks:  # producers come first, so one pass settles both
            before = {self.task_of[a] for name in task.processors for a, _ in self.into[name]} - {task.name}
            layer[task.name] = max((layer[other] + 1 for other in before), default=0)
            for name in task.processors:
                inside = [depth[a] + 1 for a, _ in self.into[name] if self.task_of[a] == task.name]
                depth[name] = max(inside, default=0)
        first: dict[int, int] = {}
        layer_of_row: list[int] = []
        for i in range(max(layer.values()) + 1):
            first[i] = len(layer_of_row)
            layer_of_row += [i] * (1 + max(depth[n] for n in depth if layer[self.task_of[n]] == i))
        row = {n: first[layer[self.task_of[n]]] + depth[n] for n in depth}
        return layer, row, layer_of_row

    def _box_item(self, name: str) -> _Item:
        return _Item(self.row[name], self.task_of[name], name)

    def _chain(self, a: str, ref: DataRef, b: str) -> list[_Item]:
        """Return what an edge goes through: its producer, a lane in every row passed, its consumer."""
        chain = [self._box_item(a)]
        for row in range(self.row[a] + 1, self.row[b]):
            here = self.layer_of_row[row]
            inside = [n for n in (a, b) if self.layer[self.task_of[n]] == here]
            block = self.task_of[inside[0]] if inside else f"{a} {ref}"
            chain.append(_Item(row, block, a, ref))
        return [*chain, self._box_item(b)]

    def _order(self) -> list[list[_Item]]:
        """Return the items of each row from left to right: near what they are linked to, blocks together."""
        items = dict.fromkeys([self._box_item(n) for n in self.topology.names])
        items |= dict.fromkeys(item for chain in self.chains for item in chain)
        grid: list[list[_Item]] = [[i for i in items if i.row == row] for row in range(len(self.layer_of_row))]
        near: dict[_Item, list[_Item]] = defaultdict(list)
        for chain in self.chains:
            for upper, lower in pairwise(chain):
                near[upper].append(lower)
                near[lower].append(upper)
        for _ in range(8):
            at = {item: (i + 0.5) / len(line) for line in grid for i, item in enumerate(line)}
            wish = {i: (sum(at[n] for n in near[i]) / len(near[i]) + at[i]) / 2 if near[i] else at[i] for i in at}
            members: dict[tuple[int, str], list[float]] = defaultdict(list)
            for item in at:
                members[self.layer_of_row[item.row], item.block].append(wish[item])
            centre = {block: sum(w) / len(w) for block, w in members.items()}

            def key(item: _Item, wish=wish, centre=centre) -> tuple[float, str, float, str]:  # type: ignore[no-untyped-def]
                block = (self.layer_of_row[item.row], item.block)
                return centre[block], item.block, wish[item], item.producer

            grid = [sorted(line, key=key) for line in grid]
        return grid

    def place(self) -> Layout:
        """Return the drawing with coordinates."""
        made = Layout()
        x_of = self._columns(made)
        tops = self._tops(made)
        for line in self.grid:
            for item in line:
                if item.ref is None:
                    made.processors[item.producer] = Box(
                        item.producer, x_of[item], tops[item.row], self._width(item), BOX_H
                    )
        self._place_data(made)
        for (a, ref, b), chain in zip(self.links, self.chains, strict=True):
            made.edges.append(Edge(ref, a, b, self._points(made, chain, ref, x_of, tops)))
        for task in self.tasks:
            inside = [made.processors[n] for n in task.processors]
            left, top = min(b.x for b in inside) - FRAME, min(b.y for b in inside) - HEAD
            right, bottom = max(b.x + b.w for b in inside) + FRAME, max(b.y + b.h for b in inside) + PILL_H + FRAME
            made.tasks.append(Box(task.name, left, top, right - left, bottom - top))
        self._place_feedback(made)
        return made

    def _place_feedback(self, made: Layout) -> None:
        """Lead what goes back along the gap under its row, up a lane of its own at the right, and in from above."""
        links = dict.fromkeys((r.producer, r.ref, r.consumer) for r in self.topology.feedback)
        ends: dict[str, int] = defaultdict(int)
        for i, (a, ref, b) in enumerate(links):
            pill, goal = made.data[ref], made.processors[b]
            ends[b] += 1
            x0, x1, lane = pill.x + pill.w / 2, goal.x + goal.w - 12 * ends[b], made.width + i * LANE
            below, above = pill.y + pill.h + 7 + 4 * (i % 3), goal.y - 10 - 4 * (i % 3)
            points = (x0, pill.y + pill.h), (x0, below), (lane, below), (lane, above), (x1, above), (x1, goal.y)
            made.feedback.append(Edge(ref, a, b, points))
        made.width += len(links) * LANE + MARGIN * bool(links)

    def _columns(self, made: Layout) -> dict[_Item, float]:
        """Return the left side of each item [px]; a block has the same span in all rows of its layer."""
        spans: dict[int, dict[str, float]] = defaultdict(dict)
        rows: dict[tuple[int, str], list[_Item]] = defaultdict(list)
        for row, line in enumerate(self.grid):
            for item in line:
                rows[row, item.block].append(item)
        for (row, block), items in rows.items():
            layer, need = self.layer_of_row[row], sum(self._width(i) + GAP_X for i in items)
            frame = 2 * FRAME if block in self.layer else 0.0
            spans[layer][block] = max(spans[layer].get(block, 0.0), need + frame)
        made.width = max(sum(s.values()) for s in spans.values()) + 2 * MARGIN
        x_of = {}
        start: dict[tuple[int, str], float] = {}
        for layer, widths in spans.items():
            x = (made.width - sum(widths.values())) / 2
            for block in self._blocks(layer):
                start[layer, block] = x
                x += widths[block]
        for (row, block), items in rows.items():
            layer = self.layer_of_row[row]
            x = start[layer, block] + (spans[layer][block] - sum(self._width(i) + GAP_X for i in items)) / 2 + GAP_X / 2
            for item in items:
                x_of[item] = x
                x += self._width(item) + GAP_X
        return x_of

    def _blocks(self, layer: int) -> list[str]:
        """Return the blocks of a layer from left to right: the same order in all its rows, so any row may tell."""
        before: dict[str, set[str]] = {}
        for row, line in enumerate(self.grid):
            if self.layer_of_row[row] == layer:
                seen: list[str] = list(dict.fromkeys(i.block for i in line))
                for i, block in enumerate(seen):
                    before.setdefault(block, set()).update(seen[:i])
        ordered: list[str] = []
        while before:
            block = next(b for b in before if not before[b] - set(ordered))
            ordered.append(block)
            del before[block]
        return ordered

    def _tops(self, made: Layout) -> list[float]:
        """Return the top of each row [px]; a new layer leaves room for titles."""
        tops, y, last = [], MARGIN, -1
        for layer in self.layer_of_row:
            y += HEAD + FRAME if layer != last else 0.0
            tops.append(y)
            y, last = y + PITCH, layer
        made.height = y - GAP_Y + FRAME + MARGIN
        return tops

    def _width(self, item: _Item) -> float:
        if item.ref is not None:
            return LANE
        outputs = [str(o.ref) for o in self.topology[item.producer].outputs]
        pills = sum(_pill_width(o) + 4 for o in outputs)
        texts = item.producer, subtitle(self.topology[item.producer])
        return max(max(map(len, texts)) * CHAR + 28, pills + 8, 150.0)

    def _place_data(self, made: Layout) -> None:
        for p in self.topology.processors:
            box = made.processors[p.name]
            sizes = [_pill_width(str(o.ref)) for o in p.outputs]
            x = box.x + (box.w - sum(sizes) - 4 * max(len(sizes) - 1, 0)) / 2
            for output, size in zip(p.outputs, sizes, strict=True):
                made.data[output.ref] = Box(str(output.ref), x, box.y + box.h, size, PILL_H)
                x += size + 4

    def _points(
        self, made: Layout, chain: Sequence[_Item], ref: DataRef, x_of: dict[_Item, float], tops: Sequence[float]
    ) -> tuple[tuple[float, float], ...]:
        """Return the way of an edge: out of its pill, straight down its lanes, into its consumer."""
        pill, goal = made.data[ref], made.processors[chain[-1].producer]
        points = [(pill.x + pill.w / 2, pill.y + pill.h)]
        for lane in chain[1:-1]:
            x, y = x_of[lane] + LANE / 2, tops[lane.row]
            points += [(x, y), (x, y + BOX_H + PILL_H)]
        arriving, refs = self.arriving[goal.name], [ref for _, ref in self.into[goal.name]]
        from_x = {r: x_of[c[-2]] + self._width(c[-2]) / 2 for r, c in zip(refs, arriving, strict=True)}
        place = sorted(refs, key=lambda r: (from_x[r], made.data[r].x)).index(ref)
        return (*points, (goal.x + goal.w * (place + 1) / (len(refs) + 1), goal.y))


def subtitle(p: DataProcessorSpec) -> str:
    """Return the second line in the box of a processor: cost, resources, what it gets besides data.

    >>> subtitle(DataProcessorSpec("p", inputs="", outputs="", algorithm=print, resources={"GPU": 1}))
    '10 ms · GPU 1'
    """
    conditions = sum(i.lifetime is Lifetime.CONDITION for i in p.inputs)
    told = [f"{p.cost_ms:g} ms", *(f"{k} {v:g}" for k, v in p.resources.items() if v)]
    told += [f"{conditions} condition{'s' * (conditions > 1)}"] * bool(conditions)
    told += ["clock"] * any(i.is_clock for i in p.inputs)
    return " · ".join(told)


def _pill_width(text: str) -> float:
    return len(text) * CHAR * 0.86 + 12
