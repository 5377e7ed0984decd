"""`omnifeat evaluate ab`: simulated A/B tests of one encoder in the place of another (Tables 7 and 8)."""

from pathlib import Path
from typing import Annotated

import typer

from omnifeat.commands.console import JsonOption, OverwriteOption, ThreadsOption, report


def main(
    data: Annotated[str, typer.Argument(metavar="DATA", help="Dataset of pairs of a simulated world.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the figures, a report and a picture.")],
    world: Annotated[str, typer.Option(help="Simulated world, whose people search and whose raters judge.")],
    encoder: Annotated[str, typer.Option(help="Ours: folder or hub name.")],
    reference: Annotated[str, typer.Option(help="The encoder in whose place it is put, such as SearchSage.")],
    kind: Annotated[str, typer.Option(help="organic (Table 7) or ads (Table 8).")] = "organic",
    sessions: Annotated[int, typer.Option(help="Searches of each arm.")] = 20_000,
    rankers_from: Annotated[
        str, typer.Option(help="Part of the split whose impressions the models learn from.")
    ] = "development",
    reference_entities: Annotated[
        str, typer.Option(help="Entities of the reference: existing (PinSage, ItemSage) or learned.")
    ] = "existing",
    page: Annotated[int, typer.Option(help="Results on a page.")] = 12,
    retrieved_pins: Annotated[int, typer.Option(help="Pins that each retriever finds.")] = 100,
    retrieved_products: Annotated[int, typer.Option(help="Products that each retriever finds.")] = 50,
    l1_keep: Annotated[int, typer.Option(help="Candidates of each type that L1 keeps.")] = 60,
    relevance_weight: Annotated[
        float, typer.Option(help="Of the expected grade in the order of organic results.")
    ] = 0.5,
    ad_share: Annotated[float, typer.Option(help="Products that are advertised.")] = 0.3,
    ad_places: Annotated[str, typer.Option(help="Places of ads on the page, separated by commas.")] = "2,5,8,11",
    ad_least_grade: Annotated[float, typer.Option(help="Expected grade below which no ad is shown.")] = 1.5,
    index: Annotated[str, typer.Option(help="exact, or hnsw for a graph.")] = "exact",
    null_tests: Annotated[int, typer.Option(min=0, help="A/A tests with other random numbers.")] = 40,
    bootstrap: Annotated[int, typer.Option(min=0, help="Resamples of the queries; 0 for no intervals.")] = 1000,
    level: Annotated[float, typer.Option(help="Share of the resamples inside an interval.")] = 0.95,
    seed: Annotated[int, typer.Option(help="Of searches, people, raters, models and resamples.")] = 0,
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """People of a simulated world search with one encoder in the place of another, place by place in the stack."""
    from evaluation.ab.reports import ab_json, ab_rows, write_ab
    from evaluation.ab.settings import AbSettings
    from evaluation.ab.study import run_ab
    from evaluation.reports import check_target
    from evaluation.tables import text_table
    from omnifeat.data.dataset import Dataset
    from omnifeat.errors import SettingError
    from omnifeat.frozen import FrozenEncoder

    try:
        places = tuple(int(part) for part in ad_places.split(","))
    except ValueError as error:
        raise SettingError(f"--ad-places must be whole numbers separated by commas, got '{ad_places}'") from error
    settings = AbSettings(
        kind=kind,
        sessions=sessions,
        rankers_from=rankers_from,
        reference_entities=reference_entities,
        page=page,
        retrieved_pins=retrieved_pins,
        retrieved_products=retrieved_products,
        l1_keep=l1_keep,
        relevance_weight=relevance_weight,
        ad_share=ad_share,
        ad_places=places,
        ad_least_grade=ad_least_grade,
        index=index,
        null_tests=null_tests,
        resamples=bootstrap,
        level=level,
        seed=seed,
        threads=threads,
    )
    check_target(out, overwrite)
    dataset = Dataset.open(data)
    ours = FrozenEncoder.from_pretrained(encoder, threads=threads)
    theirs = FrozenEncoder.from_pretrained(reference, threads=threads)
    result = run_ab(dataset, world, ours, theirs, settings, lambda step: typer.echo(step, err=True))
    context = {
        "dataset": dataset.info.name,
        "encoder": encoder,
        "fingerprint": ours.fingerprint,
        "reference": reference,
        "reference_fingerprint": theirs.fingerprint,
    }
    files = write_ab(out, result, settings, context, overwrite)
    said = {**ab_json(result, settings, context), "files": [str(path) for path in files]}
    report(said, as_json, [text_table(*ab_rows(result, settings)), *(f"wrote {path}" for path in files)])
