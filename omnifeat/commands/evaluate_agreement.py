"""`omnifeat evaluate agreement`: how far the raters of judgments agree."""

from pathlib import Path
from typing import Annotated

import typer

from omnifeat.commands.console import JsonOption, OverwriteOption, report


def main(
    data: Annotated[str, typer.Argument(metavar="DATA", help="Dataset folder whose judgments name their raters.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the figures and a table.")],
    by: Annotated[str | None, typer.Option(help="Column of judgments that makes groups; country.")] = None,
    entity_type: Annotated[str | None, typer.Option(help="Only judgments of this type.")] = None,
    metric: Annotated[str, typer.Option(help="Distance of grades: ordinal, interval or nominal.")] = "ordinal",
    relevant_grade: Annotated[
        float | None, typer.Option(help="Judgments of this grade or more are relevant; above half of the highest.")
    ] = None,
    bootstrap: Annotated[int, typer.Option(min=0, help="Resamples of the queries; 0 for no intervals.")] = 1000,
    level: Annotated[float, typer.Option(help="Share of the resamples inside an interval.")] = 0.95,
    seed: Annotated[int, typer.Option(help="Of the resamples.")] = 0,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Krippendorff's alpha of the raters, and how often two of them give the same grade."""
    from evaluation.agreement_study import (
        AgreementSettings,
        agreement_json,
        agreement_rows,
        agreement_study,
        write_agreement,
    )
    from evaluation.reports import check_target
    from evaluation.tables import text_table
    from omnifeat.data.dataset import Dataset

    settings = AgreementSettings(
        entity_type=entity_type,
        by=by,
        metric=metric,
        relevant_grade=relevant_grade,
        resamples=bootstrap,
        level=level,
        seed=seed,
    )
    check_target(out, overwrite)
    dataset = Dataset.open(data)
    study = agreement_study(dataset, settings)
    files = write_agreement(out, study, settings, dataset.info.name, overwrite)
    result = {**agreement_json(study, settings, dataset.info.name), "files": [str(path) for path in files]}
    report(result, as_json, [text_table(*agreement_rows(study)), *(f"wrote {path}" for path in files)])
