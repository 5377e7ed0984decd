"""A small study made by hand, with one of everything that a report shows."""

from evaluation.reproduction.results import (
    Cell,
    Claim,
    Column,
    CorpusCurve,
    CurvePoint,
    Difference,
    Estimate,
    Histogram,
    Machine,
    Query,
    Retrieved,
    Row,
    Section,
    StudyResults,
    Table,
    Trained,
)

MACHINE = Machine(
    cores=2, threads=2, memory_gib=7.75, accelerator=None, system="Linux x86_64", versions={"torch": "2.13.0"}
)


def bare(title: str = "A bare study") -> StudyResults:
    """A study without anything that can be left out."""
    return StudyResults(
        title=title,
        finished="2026-11-20T14:03:11Z",
        command="omnifeat reproduce --data world",
        dataset="world",
        preset="tiny",
        seeds=[0],
        data={},
        settings={},
        tables=[],
        claims=[],
        trained=[],
        machine=MACHINE,
        seconds=4.25,
    )


def table_two() -> Table:
    """Two systems on a column each of pins and queries, the second beside the first and the paper's."""
    return Table(
        key="2",
        title="OmniSearchSage against SearchSage",
        caption="Recall@10 of the test pairs.",
        columns=[Column(key="save", label="Save", group="Pin"), Column(key="click", label="Click", group="Query")],
        rows=[
            Row(
                key="searchsage",
                label="SearchSage",
                cells={
                    "save": Cell(ours=Estimate(value=0.32, low=0.3, high=0.34), paper=0.39, pairs=1200, queries=300),
                    "click": Cell(ours=Estimate(value=0.5, low=0.47, high=0.53), paper=0.54, pairs=80, queries=1),
                },
            ),
            Row(
                key="omnisearchsage",
                label="OmniSearchSage",
                cells={
                    "save": Cell(
                        ours=Estimate(value=0.48, low=0.46, high=0.5),
                        per_seed=[0.47, 0.49],
                        paper=0.65,
                        paper_relative=2 / 3,
                        difference=Difference(to="searchsage", value=0.16, low=0.14, high=0.18, relative=0.5),
                        pairs=1200,
                        queries=300,
                    ),
                    "click": Cell(
                        ours=Estimate(value=0.496, low=0.46, high=0.52),
                        paper=0.78,
                        difference=Difference(to="searchsage", value=-0.004, low=-0.03, high=0.02, relative=-0.008),
                        pairs=80,
                        queries=1,
                    ),
                },
            ),
            Row(
                key="random",
                label="Random",
                cells={
                    "save": Cell(
                        ours=Estimate(value=0.01),
                        difference=Difference(to="searchsage", value=-0.31, low=-0.33, high=-0.29, relative=-0.97),
                        pairs=1200,
                        queries=300,
                    )
                },
            ),
        ],
        notes=["The paper's row has no figure for random."],
    )


def whole() -> StudyResults:
    """A study with one of everything."""
    serving = Table(
        key="matryoshka",
        title="Prefixes of the vector",
        caption="The first dimensions.",
        columns=[
            Column(key="save", label="Save", group=""),
            Column(key="rate", label="queries a second", group="", unit="plain"),
        ],
        rows=[
            Row(
                key="64",
                label="64 dimensions",
                cells={
                    "save": Cell(ours=Estimate(value=0.41), pairs=1200, queries=300),
                    "rate": Cell(ours=Estimate(value=1406.2), pairs=1200, queries=300),
                },
            )
        ],
    )
    judged = serving.model_copy(update={"key": "relevance", "title": "Judged", "caption": "By raters."})
    return bare("A small study").model_copy(
        update={
            "seeds": [0, 1],
            "data": {"pins": 100000, "test pairs": 1280},
            "settings": {"batch": "1,024", "level": "95%"},
            "tables": [table_two(), serving],
            "claims": [
                Claim(table="2", text="Above SearchSage on pins", verdict="shown", evidence="+0.160 [0.140, 0.180]"),
                Claim(table="2", text="Above SearchSage on queries", verdict="not shown", evidence="-0.004"),
                Claim(table="4", text="Every enrichment adds", verdict="not measured", evidence="no captions"),
                Claim(table="matryoshka", text="Prefixes hold", verdict="contrary", evidence="they fall"),
            ],
            "trained": [
                Trained(
                    name="base",
                    seed=seed,
                    what="Everything on.",
                    changes={"enrichment.captions": "true"},
                    tasks=["pin", "query"],
                    steps=100,
                    batch_size=64,
                    pairs_seen=6400,
                    seconds=298.4,
                    peak_memory=3 * 2**29,
                    fingerprint=f"abcdef0{seed}",
                    final_loss=3.25,
                    curve=[CurvePoint(step=50, loss=5.5), CurvePoint(step=100, loss=3.25)],
                    used_by=["2", "matryoshka"],
                )
                for seed in (0, 1)
            ],
            "histograms": [
                Histogram(
                    system="OmniSearchSage",
                    entity_type="pin",
                    edges=[-1.0, 0.0, 0.5, 1.0],
                    positive=[0.0, 0.25, 0.75],
                    random=[0.5, 0.5, 0.0],
                )
            ],
            "corpus_curves": [
                CorpusCurve(
                    system=system,
                    entity_type="pin",
                    sizes=[1000, 10000],
                    recall=[Estimate(value=0.9, low=0.88, high=0.92), Estimate(value=last, low=0.5, high=0.7)],
                )
                for system, last in (("OmniSearchSage", 0.66), ("_SearchSage", 0.55))
            ],
            "gallery": [
                Query(
                    query="wohnzimmer ideen",
                    kind="tail",
                    country="DE",
                    systems={
                        "OmniSearchSage": [
                            Retrieved(
                                entity_id="p1", entity_type="pin", text="Grey sofa", score=0.91, grade=3, engaged=True
                            ),
                            Retrieved(entity_id="p2", entity_type="product", text="", score=0.5, grade=2),
                        ],
                        "BM25": [],
                    },
                )
            ],
            "sections": [
                Section(key="5.1", title="Human relevance", paragraphs=["Three judgements a pair."], table=judged)
            ],
            "peak_memory": 2**30,
        }
    )
