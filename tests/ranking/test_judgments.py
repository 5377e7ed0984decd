"""One grade for each pair."""

import pyarrow as pa

from ranking.judgments import agreed_grades


def judgments(rows):
    names = ["query", "entity_id", "entity_type", "grade", "rater"]
    return pa.table({name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)})


def test_the_median_rater_decides_and_the_lower_of_two_middle_grades():
    table = judgments(
        [
            ("b", "x", "pin", 4.0, "r1"),
            ("a", "x", "pin", 0.0, "r1"),
            ("b", "x", "pin", 1.0, "r2"),
            ("b", "x", "pin", 3.0, "r3"),  # b, x: 1 3 4 -> 3
            ("a", "x", "pin", 3.0, "r2"),  # a, x: 0 3 -> 0
            ("a", "x", "product", 2.0, "r2"),  # another entity of the same id
        ]
    )
    agreed = agreed_grades(table)
    assert agreed.to_pylist() == [
        {"query": "b", "entity_id": "x", "entity_type": "pin", "grade": 3.0},
        {"query": "a", "entity_id": "x", "entity_type": "pin", "grade": 0.0},
        {"query": "a", "entity_id": "x", "entity_type": "product", "grade": 2.0},
    ]


def test_pairs_that_stand_once_stay_as_they_are():
    table = judgments([("b", "x", "pin", 4.0, "r1"), ("a", "x", "pin", 0.0, "r2")])
    assert agreed_grades(table) is table
