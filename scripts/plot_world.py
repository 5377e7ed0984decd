"""Draw a simulated world: popularity, coverage of the text fields, actions by position, grades; figures of words.

python scripts/plot_world.py WORLD OUT_DIR
"""

import argparse
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from omnifeat.data.dataset import Dataset
from omnifeat.data.schema import ACTIONS
from omnifeat.simulator.phrasebook import split

COLOURS = ("#1f6feb", "#d29922", "#2da44e", "#8250df", "#9aa5b1")
STATES = ("normal", "missing", "generic", "wrong")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("world", type=Path, help="dataset folder that `omnifeat simulate` wrote")
    parser.add_argument("out", type=Path, help="folder for the pictures")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    dataset = Dataset.open(arguments.world)
    pictures = {"popularity": popularity, "coverage": coverage, "positions": positions, "grades": grades}
    for name, draw in pictures.items():
        figure = Figure(figsize=(7.2, 3.6), dpi=100, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure.subplots(), dataset, arguments.world / "truth")
        path = arguments.out / f"world_{name}.png"
        # no date or version in the file, so that the same world gives the same picture
        figure.savefig(path, metadata={"Software": None})
        print(path)
    words(dataset)


def words(dataset: Dataset) -> None:
    """Print how often an engaged pin shares no word with its query, and how many test pairs training has too."""
    log = dataset.read("engagements", columns=["query", "entity_id", "entity_type", "timestamp"])
    log = log.append_column("part", dataset.info.split.assign(log)).filter(pc.equal(log["entity_type"], "pin"))
    pins = dataset.read("pins", columns=["id", "title", "description"]).to_pylist()
    told = {row["id"]: set(split(f"{row['title'] or ''} {row['description'] or ''}")) for row in pins}
    pairs = list(zip(log["query"].to_pylist(), log["entity_id"].to_pylist(), log["part"].to_pylist(), strict=True))
    none = np.mean([not told[identity] & set(split(query)) for query, identity, _ in pairs])
    parts = {name: {pair[:2] for pair in pairs if pair[2] == name} for name in ("train", "test")}
    print(f"engaged pins without a word of the query in title or description: {none:.1%}")
    print("distinct query-pin pairs of the test part that the training part has too: ", end="")
    print(f"{len(parts['test'] & parts['train']) / len(parts['test']):.1%} of {len(parts['test']):,}")


def popularity(axes: Axes, dataset: Dataset, truth: Path) -> None:
    log = dataset.read("engagements", columns=["query", "entity_id", "entity_type"])
    columns = {
        "queries": log["query"],
        "pins": log.filter(pc.equal(log["entity_type"], "pin"))["entity_id"],
        "products": log.filter(pc.equal(log["entity_type"], "product"))["entity_id"],
    }
    for colour, (name, column) in zip(COLOURS, columns.items(), strict=False):
        counts = np.sort(pc.value_counts(column).field("counts").to_numpy())[::-1]
        axes.plot(np.arange(1, len(counts) + 1), counts, color=colour, label=name)
    axes.set(xscale="log", yscale="log", xlabel="rank", ylabel="engagements", title="Popularity")
    axes.legend(frameon=False)


def coverage(axes: Axes, dataset: Dataset, truth: Path) -> None:
    names, shares = [], []
    for table, kind in (("pins", "pin"), ("products", "product")):
        states = pq.read_table(truth / f"{kind}_latent.parquet", columns=["title_state", "description_state"])
        for column in ("title", "description"):
            values = np.array(states[f"{column}_state"].to_pylist())
            names.append(f"{kind} {column}")
            shares.append([np.mean(values == state) for state in STATES])
        there = dataset.read(table, columns=["caption", "board_titles", "engaged_queries"])
        missing = {"caption": there["caption"].null_count / there.num_rows}
        for column in ("board_titles", "engaged_queries"):
            missing[column] = pc.mean(pc.equal(pc.list_value_length(there[column]), 0)).as_py()
        for column, share in missing.items():
            names.append(f"{kind} {column.replace('_', ' ')}")
            shares.append([1 - share, share, 0, 0])
    left = np.zeros(len(names))
    for colour, state, share in zip(
        (*COLOURS[:1], "#e6e9ed", *COLOURS[1:2], "#cf222e"), STATES, zip(*shares, strict=True), strict=True
    ):
        axes.barh(names, share, left=left, color=colour, label={"normal": "there"}.get(state, state))
        left += np.array(share)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="share of rows", title="Coverage of each text field")
    axes.legend(frameon=False, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.14))


def positions(axes: Axes, dataset: Dataset, truth: Path) -> None:
    shown = dataset.read("impressions", columns=["position", "action"])
    position = shown["position"].to_numpy()
    action = np.array(shown["action"].fill_null("").to_pylist())
    places = np.unique(position)
    bottom = np.zeros(len(places))
    for colour, name in zip(COLOURS, ACTIONS, strict=True):
        rate = np.array([np.mean(action[position == place] == name) for place in places])
        axes.bar(places, rate, bottom=bottom, color=colour, label=name.replace("_", " "))
        bottom += rate
    axes.set(xlabel="position", ylabel="actions per impression", title="Actions by position", xticks=places)
    axes.legend(frameon=False)


def grades(axes: Axes, dataset: Dataset, truth: Path) -> None:
    true = pq.read_table(truth / "grades.parquet")["grade"].to_numpy()
    given = dataset.read("judgments", columns=["grade"])["grade"].to_numpy()
    for shift, (name, values) in zip((-0.2, 0.2), {"true": true, "given by raters": given}.items(), strict=True):
        shares = [np.mean(values == grade) for grade in range(5)]
        axes.bar(np.arange(5) + shift, shares, width=0.4, color=COLOURS[0 if shift < 0 else 1], label=name)
    axes.set(xlabel="grade", ylabel="share", title="Grades of judged pairs", xticks=range(5))
    axes.legend(frameon=False)


if __name__ == "__main__":
    main()
