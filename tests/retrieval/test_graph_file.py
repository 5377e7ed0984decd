"""A graph file is checked before faiss, which follows every link of it, reads it."""

import struct
from pathlib import Path

import numpy as np
import pytest

from omnifeat.errors import DataError
from omnifeat.retrieval.graph_file import check_graph_file
from omnifeat.retrieval.hnsw import HnswIndex, HnswSettings

ENTITIES, DIM = 120, 4
_HEAD = 37


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small graph of several layers."""
    vectors = np.random.default_rng(0).normal(size=(ENTITIES, DIM)).astype(np.float32)
    index = HnswIndex.build(
        [f"e{number:03}" for number in range(ENTITIES)],
        vectors,
        settings=HnswSettings(neighbours=3, breadth=20, exact_below=10),
    )
    folder = tmp_path_factory.mktemp("graph") / "index"
    index.save(folder)
    return (folder / "graph.faiss").read_bytes()


def _lists(content: bytes) -> dict[str, tuple[int, int]]:
    """Where the length of each list stands, and where its values begin; and the entry's place."""
    at, found = _HEAD, {}
    for name, size in (("shares", 8), ("upto", 4), ("layers", 4), ("starts", 8), ("links", 4)):
        (length,) = struct.unpack_from("<q", content, at)
        found[name] = (at, at + 8)
        at += 8 + size * length
    found["entry"] = (at, at)
    found["storage"] = (at + 20, at + 20)
    found["vectors"] = (at + 20 + _HEAD, at + 28 + _HEAD)
    return found


def _check(content: bytes, folder: Path) -> None:
    (folder / "graph.faiss").write_bytes(content)
    check_graph_file(folder / "graph.faiss", entities=ENTITIES, dim=DIM)


def _with(content: bytes, at: int, form: str, value: int) -> bytes:
    changed = bytearray(content)
    struct.pack_into(form, changed, at, value)
    return bytes(changed)


def test_what_faiss_writes_passes(content: bytes, tmp_path: Path) -> None:
    _check(content, tmp_path)


@pytest.mark.parametrize("name", ["shares", "upto", "layers", "starts", "links", "vectors"])
@pytest.mark.parametrize("length", [-1, 0, 1, 2**31, 2**62])
def test_a_list_of_another_length_is_refused(name: str, length: int, content: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no graph that faiss wrote for this index"):
        _check(_with(content, _lists(content)[name][0], "<q", length), tmp_path)


@pytest.mark.parametrize(
    ("name", "form", "value"),
    [
        ("upto", "<i", 5),
        ("layers", "<i", 0),
        ("layers", "<i", 1000),
        ("starts", "<q", -8),
        ("starts", "<q", 2**40),
        ("links", "<i", ENTITIES),
        ("links", "<i", -2),
        ("links", "<i", 2**31 - 1),
        ("entry", "<i", -1),
        ("entry", "<i", ENTITIES),
        ("storage", "<i", 0),
    ],
)
def test_a_number_that_leads_astray_is_refused(
    name: str, form: str, value: int, content: bytes, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="no graph that faiss wrote for this index"):
        _check(_with(content, _lists(content)[name][1], form, value), tmp_path)


def test_a_link_to_an_entity_that_is_not_on_the_layer_is_refused(content: bytes, tmp_path: Path) -> None:
    places = _lists(content)
    layers = np.frombuffer(content, "<i4", ENTITIES, places["layers"][1])
    starts = np.frombuffer(content, "<i8", ENTITIES + 1, places["starts"][1])
    upto = np.frombuffer(content, "<i4", 2, places["upto"][1])
    high, low = int(np.flatnonzero(layers > 1)[0]), int(np.flatnonzero(layers == 1)[-1])
    at = places["links"][1] + 4 * int(starts[high] + upto[1])
    with pytest.raises(DataError, match="leads to an entity that is not on it"):
        _check(_with(content, at, "<i", low), tmp_path)


def test_a_file_that_is_cut_or_longer_is_refused(content: bytes, tmp_path: Path) -> None:
    for changed in (*(content[:length] for length in range(0, len(content), 97)), content + b"\0", content[:-1]):
        with pytest.raises(DataError, match="no graph that faiss wrote for this index"):
            _check(changed, tmp_path)
