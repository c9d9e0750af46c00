"""Draws the rooms of the code, from its own imports: `python docs/rooms.py` → images/rooms.svg.

Boxes are the packages and modules right below each top package, lower ones know nothing of those
above. An arrow from A to B says that A imports B; where B is reached through another room, the
arrow is left out. The arrows also stand in the picture's metadata, by which a test tells whether
the picture is that of the code (needs grimp, which import-linter brings).
"""

import io
from pathlib import Path

import grimp
import matplotlib
import networkx
from matplotlib import pyplot
from matplotlib.figure import Figure

PICTURE = Path(__file__).parent / "images" / "rooms.svg"
COLUMNS = {"input_pipeline": "#cfe3f5", "vsft_jax": "#dcefd3", "evaluation": "#f8e3c4"}
ALONE = ("demo_world", "emoji_world")  # drawn as one room each
_WIDTH, _HEIGHT = 1.9, 0.44  # of a box; columns and rows are one unit apart


def arrows() -> networkx.DiGraph:
    """Room → rooms it imports, without those that it also reaches through another one."""
    # Its cache goes by times of files, which a checkout may set back.
    modules = grimp.build_graph(*COLUMNS, *ALONE, cache_dir=None)
    found = networkx.DiGraph()
    for module in sorted(modules.modules):
        for imported in modules.find_modules_directly_imported_by(module):
            one, other = _room(module), _room(imported)
            if one != other and "" not in (one, other):
                found.add_edge(one, other)
    return networkx.transitive_reduction(found)


def described(graph: networkx.DiGraph) -> str:
    """The arrows as text, which the picture's metadata holds."""
    return "; ".join(f"{one} -> {other}" for one, other in sorted(graph.edges))


def draw(graph: networkx.DiGraph) -> Figure:
    """The picture: a column for each top package, higher rooms over what they import."""
    places = _places(graph)
    figure, axes = pyplot.subplots(figsize=(13.5, 9))
    for one, other in graph.edges:
        _arrow(axes, places[one], places[other], crosses=_top(one) != _top(other))
    for room, (x, y) in places.items():
        colour = COLUMNS.get(_top(room), "#eeeeee")
        corner = (x - _WIDTH / 2, y - _HEIGHT / 2)
        axes.add_patch(
            matplotlib.patches.FancyBboxPatch(
                corner, _WIDTH, _HEIGHT, "round,pad=0.03", facecolor=colour, edgecolor="#555555"
            )
        )
        axes.text(x, y, room.rpartition(".")[2], ha="center", va="center", fontsize=11)
    for name in COLUMNS:
        xs, ys = zip(*(place for room, place in places.items() if _top(room) == name), strict=True)
        axes.text(
            sum(xs) / len(xs), max(ys) + 0.55, f"{name}/", ha="center", fontsize=14, weight="bold"
        )
    axes.set_axis_off()
    axes.autoscale_view()
    figure.tight_layout()
    return figure


def main() -> None:
    """Writes the picture."""
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "rooms"
    graph, data = arrows(), io.BytesIO()
    draw(graph).savefig(
        data, format="svg", metadata={"Date": None, "Description": described(graph)}
    )
    PICTURE.write_bytes(data.getvalue())
    print(f"{PICTURE}: {graph.number_of_nodes()} rooms, {graph.number_of_edges()} arrows")


def _top(room: str) -> str:
    return room.partition(".")[0]


def _room(module: str) -> str:
    """The room that a module lies in; "" for a top package's own __init__."""
    parts = module.split(".")
    return parts[0] if parts[0] in ALONE else ".".join(parts[:2]) if len(parts) > 1 else ""


def _places(graph: networkx.DiGraph) -> dict[str, tuple[float, float]]:
    """Room → (x, y). A room's row in its column is that above the highest that it imports there."""
    places, left = {}, 0.0
    for name in COLUMNS:
        own = [
            room for room in graph if _top(room) == name or (name == "vsft_jax" and room in ALONE)
        ]
        inside = graph.subgraph(own)
        rows: dict[int, list[str]] = {}
        level: dict[str, int] = {}
        for room in reversed(list(networkx.lexicographical_topological_sort(inside))):
            level[room] = 1 + max((level[below] for below in inside.successors(room)), default=-1)
            rows.setdefault(level[room], []).append(room)
        widest = max(map(len, rows.values()))
        for row, rooms in rows.items():
            for i, room in enumerate(sorted(rooms)):
                x = left + (i + (widest - len(rooms)) / 2) * (_WIDTH + 0.25)
                places[room] = (x, row * 1.0)
        left += widest * (_WIDTH + 0.25) + 0.9
    return places


def _arrow(axes, start: tuple[float, float], end: tuple[float, float], crosses: bool) -> None:
    axes.annotate(
        "",
        xy=end,
        xytext=start,
        arrowprops={
            "arrowstyle": "-|>",
            "color": "#999999" if crosses else "#444444",
            "linestyle": "dashed" if crosses else "solid",
            "linewidth": 0.8 if crosses else 1.2,
            "shrinkA": 12,
            "shrinkB": 16,
            "connectionstyle": "arc3,rad=0.06",
        },
    )


if __name__ == "__main__":
    main()
