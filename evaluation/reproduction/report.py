"""The report of a study: one HTML page that needs nothing beside it, and the same as Markdown with pictures."""

from __future__ import annotations

from pathlib import Path

from evaluation.reproduction.report_html import html_page
from evaluation.reproduction.report_markdown import markdown_report
from evaluation.reproduction.results import StudyResults
from omnifeat.data.files import replace_when_whole

__all__ = ["write_report"]


def write_report(results: StudyResults, folder: Path) -> list[Path]:
    """Write `report.html`, `report.md` and its `images/` into a folder; the same results give the same bytes.

    A folder that is not there appears when all of it is written. In one that is there the three are put in place of
    those that stood there, each when it is whole and none before all are made; other files in it stay.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    OutputError
        The operating system refused to write.
    """
    page = html_page(results)
    text, pictures = markdown_report(results)
    if not folder.is_dir():
        with replace_when_whole(folder) as partial:
            partial.mkdir()
            _pictures(partial / "images", pictures)
            (partial / "report.md").write_text(text, encoding="utf-8")
            (partial / "report.html").write_text(page, encoding="utf-8")
    else:
        with (
            replace_when_whole(folder / "report.html") as page_path,
            replace_when_whole(folder / "report.md") as text_path,
            replace_when_whole(folder / "images", whatever=True) as images,
        ):
            _pictures(images, pictures)
            text_path.write_text(text, encoding="utf-8")
            page_path.write_text(page, encoding="utf-8")
    return [folder / "report.html", folder / "report.md", *(folder / path for path in sorted(pictures))]


def _pictures(images: Path, pictures: dict[str, str]) -> None:
    images.mkdir()
    for path, svg in pictures.items():
        (images / Path(path).name).write_text(svg, encoding="utf-8")
