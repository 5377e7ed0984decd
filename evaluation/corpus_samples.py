"""What ranks in a whole corpus say of random corpora, exactly: no sample is drawn.

The paper ranks among a random million of a catalogue of billions (section 4.2). Of a catalogue that is ranked as a
whole, the first places hold what a random sample of it would seldom hold together: the two measure different things.

Shapes: P pairs.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

__all__ = ["expected_hits"]


def expected_hits(
    ranks: npt.NDArray[np.integer], others: npt.NDArray[np.integer], size: int, k: int
) -> npt.NDArray[np.float64]:
    """Probability that a positive is among the first `k` of a random corpus: float64 (P,).

    Of `others` entities, `rank - 1` are before the positive. Of a uniform sample of `size` of them without replacement,
    the number before it is hypergeometric; the positive is found where that is below `k`.

    Parameters
    ----------
    ranks, others
        (P,): rank of each positive, from 1, and entities of the corpus beside it.
    size
        Entities of a sample beside the positive; a corpus that has no more is taken whole.
    """
    ranks, others = np.broadcast_arrays(ranks, others)
    distinct, place = np.unique(np.stack([ranks, others]), axis=1, return_inverse=True)
    before, of = distinct[0].astype(np.int64) - 1, distinct[1].astype(np.int64)
    drawn = np.minimum(size, of)
    found = np.zeros(len(of))
    for count in range(k):  # of those before it in the sample
        possible = (count <= np.minimum(before, drawn)) & (drawn - count <= of - before)
        b, o, d = before[possible], of[possible], drawn[possible]
        found[possible] += np.exp(_log_choose(b, count) + _log_choose(o - b, d - count) - _log_choose(o, d))
    return np.minimum(found, 1.0)[place.ravel()]


def _log_choose(of: npt.NDArray[np.integer], chosen: npt.NDArray[np.integer] | int) -> npt.NDArray[np.float64]:
    """Log of the number of ways to choose; SciPy's own distributions take minutes for ranks by the hundred thousand."""
    logs: npt.NDArray[np.float64] = gammaln(of + 1.0) - gammaln(chosen + 1.0) - gammaln(of - chosen + 1.0)
    return logs
