"""`omnifeat pairs`: training and evaluation pairs from the log of engagements."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from omnifeat.commands.console import JsonOption, OverwriteOption, ThreadsOption, progress, report, result_table
from omnifeat.errors import SettingError

if TYPE_CHECKING:
    from omnifeat.enrich.pair_settings import SplitRequest


def main(
    data: Annotated[str, typer.Argument(metavar="DATA", help="Dataset folder with the log, or the URL of one.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Dataset folder to write.")],
    actions: Annotated[
        list[str] | None,
        typer.Option("--actions", help="SET=ACTIONS, such as pins=save,long_click,click; may be repeated."),
    ] = None,
    pin_cap: Annotated[int, typer.Option(min=0, help="Most training pairs of a pin; 0 for no cap.")] = 50,
    product_cap: Annotated[int, typer.Option(min=0, help="Most training pairs of a product; 0 for no cap.")] = 200,
    query_cap: Annotated[int, typer.Option(min=0, help="Most training pairs of a suggested query; 0: no cap.")] = 0,
    evaluation_pairs: Annotated[
        int, typer.Option(min=0, help="Most development and test pairs of each type and action; 0 for all.")
    ] = 80_000,
    corpus: Annotated[int, typer.Option(min=0, help="Random entities of each type to list; 0 for all.")] = 1_000_000,
    development_from: Annotated[
        str | None, typer.Option(help="First day or time of the development part, as 2024-03-01.")
    ] = None,
    test_from: Annotated[str | None, typer.Option(help="First day or time of the test part, as 2024-03-15.")] = None,
    development: Annotated[float | None, typer.Option(help="Share of the log for development; 0.1.")] = None,
    test: Annotated[float | None, typer.Option(help="Share of the log for testing; 0.1.")] = None,
    gap_days: Annotated[float | None, typer.Option(help="Days left out before each of the two parts; 2.")] = None,
    drop_unknown: Annotated[
        bool, typer.Option("--drop-unknown", help="Leave out, and count, engagements of entities in no table.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of all choices.")] = 0,
    memory_limit: Annotated[str, typer.Option(help="Memory of the aggregation, as 512MB.")] = "1GB",
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Choose unique query-entity pairs from a log and split them: a dataset folder for `omnifeat train`."""
    from omnifeat.data.dataset import Dataset
    from omnifeat.enrich import pair_report
    from omnifeat.enrich.pair_settings import PairSettings, parse_actions
    from omnifeat.enrich.pairs import make_pairs

    settings = PairSettings(
        actions=parse_actions(actions or []),
        caps={"pin": pin_cap or None, "product": product_cap or None, "query": query_cap or None},
        evaluation_pairs=evaluation_pairs or None,
        corpus=corpus or None,
        seed=seed,
        drop_unknown=drop_unknown,
    )
    split = _split(development_from, test_from, development, test, gap_days)
    with progress("rows of the log") as advance:
        result = make_pairs(
            Dataset.open(data), out, settings, split=split, memory_limit=memory_limit, threads=threads,
            overwrite=overwrite, advance=advance,
        )  # fmt: skip
    empty = [part for part in ("development", "test") if not result.counts.total(part)]
    report(
        {"path": str(result.path), **pair_report.as_json(result.split, settings, result.counts)},
        as_json,
        [
            f"Wrote {result.path}",
            result_table(pair_report.HEADINGS, pair_report.table_1(result.counts, settings.actions), title="Pairs"),
            pair_report.split_sentence(result.split),
            *(f"The {part} part is empty." for part in empty),
            result_table(("rows", "number"), pair_report.left_out_rows(result.counts)),
        ],
    )


def _split(
    development_from: str | None, test_from: str | None, development: float | None, test: float | None,
    gap_days: float | None,
) -> "SplitRequest | None":  # fmt: skip
    from omnifeat.enrich.pair_settings import SplitRequest

    moments = {"development_from": development_from, "test_from": test_from}
    shares = {"development": development, "test": test}
    if any(moments.values()) and any(value is not None for value in shares.values()):
        raise SettingError("The split is given by --development-from and --test-from, or by shares, not by both.")
    given: dict[str, Any] = {name: _moment(name, text) for name, text in moments.items() if text is not None}
    given |= {name: value for name, value in (*shares.items(), ("gap_days", gap_days)) if value is not None}
    return SplitRequest(**given) if given else None


def _moment(name: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise SettingError(f"--{name.replace('_', '-')} '{text}' is not a day such as 2024-03-01.") from error
