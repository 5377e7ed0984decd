import numpy as np
import pytest

from omnifeat.ranks import Excluded
from omnifeat.training.block_shares import choose_shares
from omnifeat.training.development import DevelopmentPairs, DevelopmentSet, DevelopmentVectors


def unit(generator: np.random.Generator, rows: int, width: int) -> np.ndarray:
    vectors = generator.standard_normal((rows, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def made(seed: int, *, noise: dict[str, float], lacking: int = 0) -> tuple[DevelopmentSet, DevelopmentVectors]:
    """Sixty queries whose entity lies near, in each block under noise of its own, among 200 entities."""
    generator = np.random.default_rng(seed)
    corpora: dict[str, np.ndarray] = {}
    queries: dict[str, np.ndarray] = {}
    positives = generator.permutation(200)[:60]
    for name, level in noise.items():
        corpora[name] = unit(generator, 200, 8)
        near = corpora[name][positives] + level * unit(generator, 60, 8)
        queries[name] = (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)
    corpora[next(iter(noise))][:lacking] = 0
    rows = np.arange(60)
    own = Excluded.from_pairs(rows, positives, 60)
    known = Excluded.from_pairs(np.append(rows, rows), np.append(positives, (positives + 1) % 200), 60)
    pairs = DevelopmentPairs("pins", "pin", "entity", rows, positives, own, known, np.arange(60) % 2 == 0)
    development = DevelopmentSet(None, None, {}, [pairs])  # type: ignore[arg-type]
    return development, DevelopmentVectors(queries, {("pin", "entity"): corpora})


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("lacking", [0, 40])
def test_what_is_chosen_is_the_best_mix_of_tenths_measured_plainly(seed: int, lacking: int) -> None:
    development, vectors = made(seed, noise={"learned": 1.0, "words": 1.2, "text": 1.5}, lacking=lacking)
    found = choose_shares(development, vectors, seed=0)

    def plain(shares: dict[str, float]) -> tuple[float, float]:
        part = vectors.alone(*shares)
        return development.recall(part, shares)["mean"], development.recall(part, shares, new=True)["mean"]

    for name in ("learned", "words", "text"):
        assert plain({name: 1.0}) == pytest.approx((found.recall[name]["mean"], found.recall[name]["new_mean"]))
    published = found.recall["published"]
    assert plain(found.shares) == pytest.approx((published["mean"], published["new_mean"]))
    both = plain({"words": 0.5, "text": 0.5})
    assert both == pytest.approx((found.recall["words and text"]["pins"], found.recall["words and text"]["new_pins"]))
    mixes = [{"learned": a / 10, "words": b / 10, "text": (10 - a - b) / 10} for a in range(11) for b in range(11 - a)]
    measured = [plain({name: share for name, share in mix.items() if share > 0}) for mix in mixes]
    assert sum(plain(found.shares)) == pytest.approx(max(map(sum, measured)))


def test_a_block_of_noise_gets_nothing() -> None:
    development, vectors = made(1, noise={"learned": 0.1, "words": 1e6})
    assert choose_shares(development, vectors, seed=0).shares == {"learned": 1.0}
