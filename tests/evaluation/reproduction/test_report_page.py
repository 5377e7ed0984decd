"""The page: whole, fetching nothing, everyone's text escaped, legible in light and dark."""

import re
from html.parser import HTMLParser
from importlib import resources
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evaluation.reproduction.report_html import html_page
from evaluation.reproduction.report_markdown import markdown_report
from evaluation.reproduction.report_text import clean
from evaluation.reproduction.report_view import table_view
from evaluation.reproduction.results import Cell, CorpusCurve, CurvePoint, Difference, Estimate, StudyResults
from tests.evaluation.reproduction.studies import bare, whole

VOID = {"meta", "link", "br", "hr", "img", "input"}
HOSTILE = st.text(max_size=12) | st.sampled_from(
    [
        "<script>alert(1)</script>",
        "</title></style></svg><b>",
        "&lt;b&gt; & &amp;",
        '" onload="x',
        "' autofocus onfocus='x",
        "]]> <!-- -->",
        "{{ 7 * 7 }} {% raw %}",
        r"$x^2$ \frac{a}{b}",
        "\u202eevil\u2066",
        "שלום كيكة",
        "白い木のテーブル",
        "🎂" * 5,
        "Donaudampfschifffahrtsgesellschaft" * 4,
        "\x00\x1b[31m\ufffe",
    ]
)


WHOLE = html_page(whole())


class Page(HTMLParser):
    """Elements with their attributes, and text; fails where an end has no start or the other way round."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def shape(self) -> list[tuple[str, tuple[str, ...]]]:
        return [(tag, tuple(sorted(attributes))) for tag, attributes in self.elements]


def study_of(text: str) -> StudyResults:
    """The whole study with a text in every place that takes one; names that must differ do so behind it."""
    results = whole()

    def said(value: object, key: str = "") -> object:
        if isinstance(value, dict):
            free = key in ("changes", "settings", "data", "versions", "systems")
            return {
                (f"{text} {name}" if free else name): said(part, "to" if key == "difference" and name == "to" else name)
                for name, part in value.items()
            }
        if isinstance(value, list):
            return [said(part, key) for part in value]
        kept = {"key", "to", "unit", "verdict", "table", "used_by", "format_version", "group"}
        return f"{text} {value}" if isinstance(value, str) and key not in kept else value

    return StudyResults.model_validate(said(results.model_dump()))


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(WHOLE)


def test_nothing_is_fetched_and_nothing_runs(page: Page) -> None:
    for _, attributes in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "srcset", "action", "data", "poster"):
                assert value is not None
                assert value.startswith(("#", "data:"))
            if value is not None and "url(" in value:
                assert re.findall(r"url\((.)", value) == ["#"] * value.count("url(")
    assert page.all("script") == []
    assert "@import" not in WHOLE
    assert not re.search(r"https?://", WHOLE)
    assert "default-src 'none'" in WHOLE


def test_ids_are_unique_and_every_reference_is_kept(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    wanted = [
        str(attributes["href"])[1:] for _, attributes in page.elements if str(attributes.get("href")).startswith("#")
    ]
    wanted += [found for _, attributes in page.elements for found in re.findall(r"url\(#([^)]+)\)", str(attributes))]
    for name in ("aria-labelledby", "aria-describedby"):
        wanted += [str(attributes[name]) for _, attributes in page.elements if name in attributes]
    assert set(wanted) <= set(ids)
    assert {"main", "summary", "claims", "table-2", "table-matryoshka", "section-5-1", "gallery", "trainings"} <= set(
        ids
    )


def test_everything_stands_in_the_page(page: Page) -> None:
    text = " ".join(" ".join(page.text).split())
    results = whole()
    for claim in results.claims:
        assert claim.text in text
        assert claim.evidence in text
        assert claim.verdict in text
    for part in ("0.480", "[0.460, 0.500]", "+0.160", "+50%", "[+0.140, +0.180]", "0.65", "+67%", "0.470 · 0.490"):
        assert part in text
    for part in ("wohnzimmer ideen", "Grey sofa", "grade 3", "retrieves nothing", "4 min 58 s", "1.5 GiB", "100,000"):
        assert part in text
    for part in ("Human relevance", "Three judgements a pair.", "2.13.0", "abcdef01", results.command, "p2"):
        assert part in text
    # two gains, three columns of bars, one histogram, one curve over corpora, one training
    assert len(page.all("svg")) == 2 + 2 + 1 + 1 + 1 + 1
    assert all(attributes["role"] == "img" for attributes in page.all("svg"))
    marks = [attributes["aria-label"] for attributes in page.all("span") if attributes.get("role") == "img"]
    assert marks[-3:] == ["above, beyond noise", "within noise", "below, beyond noise"]


def test_headings_go_down_step_by_step_and_tables_are_reached_by_keyboard(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    regions = [attributes for attributes in page.all("div") if attributes.get("class") == "scroll"]
    assert len(regions) >= len(page.all("table"))
    assert all(one["tabindex"] == "0" and one["role"] == "region" and one["aria-label"] for one in regions)
    assert page.elements[[tag for tag, _ in page.elements].index("body") + 1] == (
        "a",
        {"class": "skip", "href": "#main"},
    )


def test_what_is_missing_leaves_no_heading() -> None:
    page = Page(html_page(bare()))
    ids = {attributes.get("id") for _, attributes in page.elements}
    assert ids & {"tables", "claims", "plots", "gallery", "data", "settings", "trainings"} == set()
    assert page.all("table") == page.all("svg") == page.all("details") == []
    links = [str(attributes["href"]) for attributes in page.all("a")]
    assert links == ["#main", "#summary", "#how"]


def test_the_same_results_are_the_same_page() -> None:
    assert html_page(whole()) == WHOLE


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(HOSTILE)
def test_any_text_is_text(text: str) -> None:
    found = Page(html_page(study_of("x" + text)))
    # whatever stands in it, the page has the elements and attributes that it has without
    assert found.shape() == Page(WHOLE).shape()
    said = "".join(found.text)
    assert clean("x" + text + " wohnzimmer ideen") in said
    assert clean("x" + text + " Every enrichment adds") in said


def test_what_is_no_number_is_written_as_a_dash() -> None:
    results = whole()
    nothing, endless = float("nan"), float("inf")
    cell = Cell(
        ours=Estimate(value=nothing, low=nothing, high=nothing),
        paper=nothing,
        paper_relative=endless,
        difference=Difference(to="searchsage", value=nothing, low=nothing, high=nothing, relative=endless),
        pairs=0,
        queries=0,
    )
    table = results.tables[0]
    rows = [row.model_copy(update={"cells": dict.fromkeys(row.cells, cell)}) for row in table.rows]
    one = results.trained[0]
    odd = results.model_copy(
        update={
            "tables": [table.model_copy(update={"rows": rows})],
            "corpus_curves": [
                CorpusCurve(system="a", entity_type="pin", sizes=[10], recall=[Estimate(value=nothing)]),
                CorpusCurve(system="b", entity_type="pin", sizes=[], recall=[]),
            ],
            "trained": [one.model_copy(update={"curve": [CurvePoint(step=1, loss=nothing)] * 2})],
        }
    )
    for text in (html_page(odd), markdown_report(odd)[0]):
        assert not re.search(r"\b(nan|inf)\b", text, flags=re.IGNORECASE)
    assert [line.kind for line in table_view(odd.tables[0]).rows[1].lines] == ["here", "gain"]


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _contrast(one: str, other: str) -> float:
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_is_that_of_wcag_aa(scheme: str) -> None:
    style = resources.files("evaluation.reproduction").joinpath("templates/report.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{(.*?)\}", style, flags=re.DOTALL)[:2]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", blocks[scheme == "dark"]))
    texts = [
        *((text, back) for text in ("ink", "quiet", "accent", "paper") for back in ("page", "card", "raised")),
        *(("shown", back) for back in ("page", "card", "shown-back")),
        *(("contrary", back) for back in ("page", "card", "contrary-back")),
        ("ink", "within-back"),
        ("quiet", "within-back"),
        ("top-ink", "top"),
        ("top-quiet", "top"),
        ("plot-ink", "card"),
        ("plot-quiet", "card"),
        ("plot-ours", "card"),
        ("plot-paper", "card"),
    ]
    for text, back in texts:
        assert _contrast(colours[text], colours[back]) >= 4.5, (text, back)
    for shape in ("plot-reference", *(f"plot-series-{place}" for place in range(1, 7))):
        assert _contrast(colours[shape], colours["card"]) >= 3, shape
