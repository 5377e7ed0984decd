"""Sampled softmax with logQ correction, its logits computed in blocks of rows and never held whole.

Shape suffixes: B pairs (rows), N negatives (columns), D width of the vectors, R rows of one block, M masked entries.

With s(q, y) = scale * <q, y> for unit vectors q and y, a source of negatives S with Q_S(y) the probability that S
yields entity y, and one task T whose batch is (q_i, p_i), i = 1..B, we read section 3.5 of the paper as

    L_T = L_T(in-batch positives) + L_T(random sample of the catalogue)                                       (2)

    L_T(S) = - 1/B sum_i log exp(s(q_i, p_i) - log Q_S(p_i))
                             / ( exp(s(q_i, p_i) - log Q_S(p_i)) + sum_{y in S_i} exp(s(q_i, y) - log Q_S(y)) )  (3)

    Q_inbatch(y | q_i) = Q_inbatch(y)     how often y is a positive in the task's stream of pairs              (4)
    Q_random(y | q_i)  = Q_random(y)      how often y is drawn, "since y is sampled independently" of q_i      (5)

S_i is S without the row's own positive, without the other known positives of its query (`negative_masks`), and, beyond
the paper, without negatives that are nearer to the query than its positive by more than a margin.
The positive is corrected too, with the Q of the same source: it stands in the softmax as one more column, and an
uncorrected column among corrected ones would shift every row by its own popularity.
A popular y has a large Q(y), so its logit as a negative is lowered and it is pushed away from queries *less*.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from omnifeat.errors import SettingError

__all__ = ["matryoshka_loss", "negative_masks", "sampled_softmax_loss", "sampled_softmax_loss_dense"]


def sampled_softmax_loss(
    queries_BD: Tensor,
    positives_BD: Tensor,
    negatives_ND: Tensor,
    *,
    log_q_positive_B: Tensor,
    log_q_negative_N: Tensor,
    masked_rows: Tensor,
    masked_columns: Tensor,
    scale: Tensor,
    margin: float | None = None,
    block_rows: int = 256,
) -> Tensor:
    """Mean sampled softmax loss of a batch against one source of negatives (equation 3 above).

    Peak memory beyond inputs and gradients is one `block_rows` x N block of float32. The gradients are computed
    together with the loss, block by block, so nothing is computed twice and the logits need not be kept.
    The arithmetic is float32 (float64 for float64 input), also under autocast.

    Parameters
    ----------
    queries_BD, positives_BD
        Unit vectors of the pairs, row i of one belongs to row i of the other.
    negatives_ND
        Unit vectors of the negatives, shared by all rows. For in-batch negatives: `positives_BD` again.
    log_q_positive_B, log_q_negative_N
        Natural logarithm of the probability that this source of negatives yields the entity.
    masked_rows, masked_columns
        int64 (M,): entries (row, column) of the B x N matrix that are not negatives; any order, repeats allowed.
    scale
        Scalar, the inverse temperature; its gradient is computed too.
    margin
        A negative whose cosine is above the positive's by more than this is left out: it is most likely relevant
        itself. None leaves none out.
    block_rows
        Rows of logits held at a time.

    Raises
    ------
    SettingError
        If the shapes do not fit or `block_rows` is less than 1.
    """
    _check_shapes(queries_BD, positives_BD, negatives_ND, log_q_positive_B, log_q_negative_N)
    if masked_rows.shape != masked_columns.shape:
        raise SettingError(
            f"masked_rows and masked_columns must have one length. Got {tuple(masked_rows.shape)} and "
            f"{tuple(masked_columns.shape)} instead."
        )
    if block_rows < 1:
        raise SettingError(f"The 'block_rows' parameter must be at least 1. Got {block_rows} instead.")
    # Function.forward runs without gradients, so it is told here whether any will be asked for.
    wants_gradients = torch.is_grad_enabled()
    loss: Tensor = _BlockwiseSampledSoftmax.apply(  # type: ignore[no-untyped-call]
        queries_BD,
        positives_BD,
        negatives_ND,
        scale,
        log_q_positive_B,
        log_q_negative_N,
        masked_rows,
        masked_columns,
        margin,
        block_rows,
        wants_gradients,
    )
    return loss


class _BlockwiseSampledSoftmax(torch.autograd.Function):
    """Loss and gradients in one pass over blocks of rows.

    For one block, with e_RN = exp(logits - m) (m the row's largest logit), e_R the same of the positive and
    t_R = e_R + sum_N e_RN, the softmax is e_RN / t_R. The large block is never divided: its factor 1 / t_R goes into
    the small matrices it is multiplied with. The gradient of the scale, sum softmax * <q, y>, needs no cosines kept
    either, for sum_N softmax_RN <q_R, y_N> = <q_R, sum_N softmax_RN y_N>, which the gradient of q_R has at hand.
    """

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        positives: Tensor,
        negatives: Tensor,
        scale: Tensor,
        log_q_positive: Tensor,
        log_q_negative: Tensor,
        masked_rows: Tensor,
        masked_columns: Tensor,
        margin: float | None,
        block_rows: int,
        wants_gradients: bool,
    ) -> Tensor:
        ctx.dtypes = (queries.dtype, positives.dtype, negatives.dtype, scale.dtype)
        ctx.scale_shape = scale.shape
        with torch.autocast(device_type=queries.device.type, enabled=False):
            dtype = torch.float64 if queries.dtype == torch.float64 else torch.float32
            queries_BD, positives_BD = queries.to(dtype), positives.to(dtype)
            negatives_ND, scale_ = negatives.to(dtype), scale.to(dtype).reshape(())
            log_q_positive_B, log_q_negative_N = log_q_positive.to(dtype), log_q_negative.to(dtype)
            rows = len(queries_BD)
            gradients = wants_gradients and any(ctx.needs_input_grad[:4])
            grad_queries_BD = torch.empty_like(queries_BD) if gradients else None
            grad_positives_BD = torch.empty_like(positives_BD) if gradients else None
            grad_negatives_ND = torch.zeros_like(negatives_ND) if gradients else None
            grad_scale = scale_.new_zeros(())
            loss = scale_.new_zeros(())

            sorted_rows, order = torch.sort(masked_rows)
            sorted_columns = masked_columns[order]
            starts = torch.arange(0, rows, block_rows, device=sorted_rows.device)
            bounds = [*torch.searchsorted(sorted_rows, starts).tolist(), len(sorted_rows)]
            block_RN = queries_BD.new_empty(min(block_rows, rows), len(negatives_ND))

            for number, start in enumerate(range(0, rows, block_rows)):
                stop = min(start + block_rows, rows)
                q_RD, p_RD = queries_BD[start:stop], positives_BD[start:stop]
                logits_RN = block_RN[: stop - start]
                torch.addmm(-log_q_negative_N, q_RD * scale_, negatives_ND.T, out=logits_RN)
                inside = slice(bounds[number], bounds[number + 1])
                logits_RN[sorted_rows[inside] - start, sorted_columns[inside]] = -torch.inf

                cosine_R = (q_RD * p_RD).sum(dim=1)
                if margin is not None:
                    too_near_RN = logits_RN + log_q_negative_N > (scale_ * (cosine_R + margin))[:, None]
                    logits_RN.masked_fill_(too_near_RN, -torch.inf)
                positive_R = scale_ * cosine_R - log_q_positive_B[start:stop]
                largest_R = positive_R
                if logits_RN.shape[1]:
                    largest_R = torch.maximum(positive_R, logits_RN.amax(dim=1))
                exp_RN = logits_RN.sub_(largest_R[:, None]).exp_()
                exp_positive_R = torch.exp(positive_R - largest_R)
                total_R = exp_positive_R + exp_RN.sum(dim=1)
                loss += (torch.log(total_R) + largest_R - positive_R).sum()
                if not gradients:
                    continue

                pull_R = (exp_positive_R / total_R - 1.0) / rows  # gradient of the positive's logit
                weight_R = (1.0 / total_R / rows)[:, None]
                mixture_RD = (exp_RN @ negatives_ND).mul_(weight_R)
                grad_scale += (mixture_RD * q_RD).sum() + (pull_R * cosine_R).sum()
                assert grad_queries_BD is not None and grad_positives_BD is not None  # noqa: S101, PT018
                assert grad_negatives_ND is not None  # noqa: S101
                grad_queries_BD[start:stop] = mixture_RD.addcmul_(p_RD, pull_R[:, None]).mul_(scale_)
                grad_positives_BD[start:stop] = q_RD * (pull_R * scale_)[:, None]
                grad_negatives_ND.addmm_(exp_RN.T, q_RD * (weight_R * scale_))

            if gradients:
                ctx.save_for_backward(grad_queries_BD, grad_positives_BD, grad_negatives_ND, grad_scale)
            return loss / rows

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        results: list[Tensor | None] = [
            (gradient * grad_output).to(dtype) if needed else None
            for gradient, dtype, needed in zip(saved, ctx.dtypes, ctx.needs_input_grad[:4], strict=True)
        ]
        if results[3] is not None:
            results[3] = results[3].reshape(ctx.scale_shape)
        return (*results, None, None, None, None, None, None, None)


def sampled_softmax_loss_dense(
    queries_BD: Tensor,
    positives_BD: Tensor,
    negatives_ND: Tensor,
    *,
    log_q_positive_B: Tensor,
    log_q_negative_N: Tensor,
    masked_rows: Tensor,
    masked_columns: Tensor,
    scale: Tensor,
    margin: float | None = None,
) -> Tensor:
    """The same loss with the whole B x N matrix of logits: the reference that `sampled_softmax_loss` is held to."""
    cosine_B1 = (queries_BD * positives_BD).sum(dim=1, keepdim=True)
    cosines_BN = queries_BD @ negatives_ND.T
    positive_B1 = scale * cosine_B1 - log_q_positive_B[:, None]
    logits_BN = scale * cosines_BN - log_q_negative_N
    excluded_BN = torch.zeros_like(logits_BN, dtype=torch.bool)
    excluded_BN[masked_rows, masked_columns] = True
    if margin is not None:
        excluded_BN |= cosines_BN > cosine_B1 + margin
    logits_BN = logits_BN.masked_fill(excluded_BN, -torch.inf)
    labels_B = torch.zeros(len(queries_BD), dtype=torch.int64, device=queries_BD.device)
    return nn.functional.cross_entropy(torch.cat([positive_B1, logits_BN], dim=1), labels_B)


def matryoshka_loss(
    queries_BD: Tensor,
    positives_BD: Tensor,
    negatives_ND: Tensor,
    *,
    prefixes: Mapping[int, float],
    log_q_positive_B: Tensor,
    log_q_negative_N: Tensor,
    masked_rows: Tensor,
    masked_columns: Tensor,
    scale: Tensor,
    margin: float | None = None,
    block_rows: int = 256,
) -> Tensor:
    """The loss of the whole vectors, or the weighted sum of the losses of their prefixes.

    `prefixes` maps a width to its weight; each prefix is brought back to unit length before it is compared. An empty
    mapping means the whole vectors with weight 1, and so does leaving the full width out of a mapping that has others.

    Raises
    ------
    SettingError
        If a prefix is not between 1 and the width of the vectors.
    """
    width = queries_BD.shape[1]
    weights = {width: 1.0, **prefixes}
    loss = queries_BD.new_zeros(())
    for prefix, weight in weights.items():
        if not 1 <= prefix <= width:
            raise SettingError(f"A Matryoshka prefix must be between 1 and the width {width}. Got {prefix} instead.")
        if weight == 0.0:
            continue
        vectors = [queries_BD, positives_BD, negatives_ND]
        if prefix < width:
            vectors = [nn.functional.normalize(v[:, :prefix].float(), dim=1) for v in vectors]
        loss = loss + weight * sampled_softmax_loss(
            vectors[0],
            vectors[1],
            vectors[2],
            log_q_positive_B=log_q_positive_B,
            log_q_negative_N=log_q_negative_N,
            masked_rows=masked_rows,
            masked_columns=masked_columns,
            scale=scale,
            margin=margin,
            block_rows=block_rows,
        )
    return loss


def negative_masks(
    query_ids_B: Tensor,
    positive_ids_B: Tensor,
    negative_ids_N: Tensor,
    *,
    pair_query_ids: Tensor | None = None,
    pair_positive_ids: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Entries (row, column) that are no negatives: the column's entity is a positive of the row's query.

    These are the row's own positive, wherever it stands among the negatives, and every other positive that the same
    query has in the batch, also where that entity is in the batch through another query. Found by two sorted joins
    (row -> positives of its query -> columns of each), so no B x N matrix is made.

    Parameters
    ----------
    query_ids_B, positive_ids_B, negative_ids_N
        int64 ids; positives and negatives are ids of one catalogue.
    pair_query_ids, pair_positive_ids
        The pairs that say what is positive for a query; the batch's own if not given. With several processes: those
        of the whole batch, of which `query_ids_B` is one process's part.

    Returns
    -------
    rows, columns
        int64 (M,) each, without repeats, by row and then by column.
    """
    if pair_query_ids is None or pair_positive_ids is None:
        pair_query_ids, pair_positive_ids = query_ids_B, positive_ids_B
    # The row's own pair is among the positives of its query even if the given pairs should lack it.
    queries = torch.cat([pair_query_ids, query_ids_B])
    positives = torch.cat([pair_positive_ids, positive_ids_B])
    pairs = torch.unique(torch.stack([queries, positives], dim=1), dim=0)  # sorted by query, then by positive
    rows, pair_index = _join(query_ids_B, pairs[:, 0].contiguous())

    sorted_negatives, columns_by_id = torch.sort(negative_ids_N, stable=True)
    candidates, places = _join(pairs[pair_index, 1].contiguous(), sorted_negatives)
    rows, columns = rows[candidates], columns_by_id[places]
    order = torch.argsort(rows * max(len(negative_ids_N), 1) + columns)
    return rows[order], columns[order]


def _join(keys: Tensor, sorted_values: Tensor) -> tuple[Tensor, Tensor]:
    """All (i, j) with keys[i] == sorted_values[j]."""
    first = torch.searchsorted(sorted_values, keys)
    counts = torch.searchsorted(sorted_values, keys, right=True) - first
    left = torch.repeat_interleave(torch.arange(len(keys), device=keys.device), counts)
    run_start = torch.repeat_interleave(torch.cumsum(counts, 0) - counts, counts)
    within = torch.arange(len(left), device=keys.device) - run_start
    return left, first[left] + within


def _check_shapes(
    queries_BD: Tensor, positives_BD: Tensor, negatives_ND: Tensor, log_q_positive_B: Tensor, log_q_negative_N: Tensor
) -> None:
    pairs, width = queries_BD.shape
    expected = {
        "positives_BD": (positives_BD, (pairs, width)),
        "negatives_ND": (negatives_ND, (negatives_ND.shape[0], width)),
        "log_q_positive_B": (log_q_positive_B, (pairs,)),
        "log_q_negative_N": (log_q_negative_N, (negatives_ND.shape[0],)),
    }
    if pairs == 0:
        raise SettingError("The 'queries_BD' parameter must have at least one row. Got none instead.")
    for name, (tensor, shape) in expected.items():
        if tuple(tensor.shape) != shape:
            raise SettingError(f"The '{name}' parameter must have shape {shape}. Got {tuple(tensor.shape)} instead.")
