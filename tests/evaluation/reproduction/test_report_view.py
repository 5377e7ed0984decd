"""The lines of a table, by hand."""

from evaluation.reproduction.report_facts import fact_rows, summary_sentences, system_note, training_numbers
from evaluation.reproduction.report_plots import all_plots, table_plots
from evaluation.reproduction.report_view import Line, LineCell, Mark, paper_difference, table_names, table_view
from evaluation.reproduction.results import Cell, Difference, Estimate, Row
from tests.evaluation.reproduction.studies import bare, table_two, whole

ABOVE = Mark("▲", "above, beyond noise", "above")
BELOW = Mark("▼", "below, beyond noise", "below")
WITHIN = Mark("≈", "within noise", "within")


def test_lines_of_a_table() -> None:
    view = table_view(table_two())
    assert view.heading == "Table 2: OmniSearchSage against SearchSage"
    assert view.groups == (("Pin", 1), ("Query", 1))
    assert view.sizes == ("1,200 pairs of 300 queries", "80 pairs of 1 query")
    assert view.measured == ""
    base, ours, other = view.rows
    assert [line.kind for line in base.lines] == ["here", "paper"]
    assert base.lines[1].cells == (LineCell("0.39"), LineCell("0.54"))
    assert ours.label == "OmniSearchSage"
    assert ours.lines == (
        Line(
            "here",
            "here",
            (
                LineCell("0.480", interval="[0.460, 0.500]", title="1,200 pairs of 300 queries"),
                LineCell("0.496", interval="[0.460, 0.520]", title="80 pairs of 1 query"),
            ),
        ),
        Line("seeds", "each seed", (LineCell("0.470 · 0.490"), None)),
        Line("paper", "paper", (LineCell("0.65"), LineCell("0.78"))),
        Line(
            "gain",
            "less SearchSage",
            (
                LineCell("+0.160", "+50%", "[+0.140, +0.180]", ABOVE),
                LineCell("−0.004", "−0.8%", "[−0.030, +0.020]", WITHIN),
            ),
        ),
        Line("paper-gain", "paper’s gain", (LineCell("+0.26", "+67%"), None)),
    )
    assert other.lines[0].cells == (LineCell("0.010", title="1,200 pairs of 300 queries"), None)
    assert other.lines[1].cells == (LineCell("−0.310", "−97%", "[−0.330, −0.290]", BELOW), None)


def test_counts_that_differ_by_row_stand_in_the_rows() -> None:
    table = table_two()
    fewer = Row(key="few", label="Few", cells={"save": Cell(ours=Estimate(value=0.1), pairs=7, queries=2)})
    view = table_view(table.model_copy(update={"rows": [*table.rows, fewer]}))
    assert view.sizes == ("", "80 pairs of 1 query")
    assert view.rows[-1].lines == (
        Line("here", "here", (LineCell("0.100", title="7 pairs of 2 queries"), None)),
        Line("pairs", "pairs", (LineCell("7", title="7 pairs of 2 queries"), None)),
    )


def test_a_count_of_all_columns_is_said_once() -> None:
    view = table_view(whole().tables[1])
    assert (view.sizes, view.measured, view.groups) == ((), "1,200 pairs of 300 queries", ())


def test_a_difference_to_a_long_name_above_or_to_a_row_that_is_not_there() -> None:
    table = table_two()

    def to(name: str) -> Row:
        cell = Cell(ours=Estimate(value=0.1), difference=Difference(to=name, value=0.0), pairs=1, queries=1)
        return Row(key=f"to-{name}", label="A name that is longer than most", cells={"save": cell})

    rows = [to("random"), to("to-random"), to("elsewhere")]
    view = table_view(table.model_copy(update={"rows": [*table.rows, *rows]}))
    assert [row.lines[-1].label for row in view.rows[-3:]] == ["less Random", "less the row above", "less elsewhere"]
    assert view.rows[-1].lines[-1].cells[0] == LineCell("0.000")  # no interval, so no mark


def test_the_papers_difference_needs_both_of_its_figures() -> None:
    table = table_two()
    _, ours, other = table.rows
    assert paper_difference(table, ours.cells["click"], "click") == 0.78 - 0.54
    assert paper_difference(table, other.cells["save"], "save") is None


def test_what_is_said_of_the_whole() -> None:
    assert summary_sentences(whole()) == [
        "Table 2 of the paper and 1 comparison that the paper has not: 2 trainings with the preset tiny on world, in "
        "4.2 s.",
        "Of 4 directions that the paper finds, 1 is shown here beyond noise, 1 is not shown, 1 is contrary and 1 is "
        "not measured.",
    ]
    assert summary_sentences(bare()) == ["0 trainings with the preset tiny on world, in 4.2 s."]
    assert ("seeds", "0, 1") in fact_rows(whole())
    assert table_names(whole()) == {"2": "Table 2", "matryoshka": "Prefixes of the vector", "relevance": "Judged"}
    assert training_numbers(whole().trained[0]) == ("0", "100", "64", "6,400", "4 min 58 s", "1.5 GiB", "3.250")


def test_how_a_system_did_on_a_query() -> None:
    found = whole().gallery[0].systems
    assert system_note(found["OmniSearchSage"]) == "1 engaged, 2 judged, mean grade 2.5"
    assert system_note(found["BM25"]) == ""


def test_plots_and_what_they_say_in_words() -> None:
    results = whole()
    plots = list(all_plots(results, table_plots(results)))
    assert [plot.key for plot in plots] == [
        "table-2-gains",
        "table-2-bars",
        "table-matryoshka-bars",
        "cosines",
        "corpus-size",
        "training-curves",
    ]
    gains, bars, prefixes, cosines, corpus, curves = plots
    assert gains.panels[0].description == (
        "OmniSearchSage less SearchSage: Pin Save +0.160 (+50%) [+0.140, +0.180], beyond noise, paper +0.26; "
        "Query Click −0.004 (−0.8%) [−0.030, +0.020], within noise, paper +0.24."
    )
    assert "2 of 3 do." in gains.caption
    assert bars.panels[0].description == (
        "Pin Save: SearchSage 0.320 [0.300, 0.340], paper 0.39; OmniSearchSage 0.480 [0.460, 0.500], paper 0.65; "
        "Random 0.010."
    )
    assert [panel.title for panel in prefixes.panels] == ["Save"]  # a rate is no share, and has no bar
    # the bins' middles are -0.5, 0.25 and 0.75: 0.25 * 0.25 + 0.75 * 0.75, and (0.25 - 0.5) / 2; 0.25 lies in both
    assert cosines.figures is not None
    assert cosines.figures.rows == (("OmniSearchSage", "pin", "0.625", "−0.125", "0.250"),)
    assert corpus.figures is not None
    assert corpus.figures.rows[1] == ("OmniSearchSage", "pin", "10,000", "0.660 [0.500, 0.700]")
    assert curves.figures is not None
    assert curves.figures.rows[0] == ("base", "0", "50: 5.500, 100: 3.250", "4 min 58 s")
    assert list(all_plots(bare(), table_plots(bare()))) == []
