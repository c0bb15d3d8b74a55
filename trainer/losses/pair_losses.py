"""Losses of a pair from the log-ratios of its responses to the reference, under TRL's names.

A loss maps (chosen, rejected, beta, label smoothing) to the loss of each pair, (pairs,). In the formulas, w
and l are the log-ratios of the chosen and the rejected response, b is beta and e the label smoothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from .pairs import Responses

Loss = Callable[[Responses, Responses, float, float], Tensor]

#: Temperature of the switch between the two parts of ``discopop``, as in the paper.
TAU = 0.05


def sigmoid(chosen: Responses, rejected: Responses, beta: float, smoothing: float) -> Tensor:
    """-(1 - e) log s(b (w - l)) - e log s(b (l - w)): DPO and cDPO (arXiv 2305.18290)."""
    margin = beta * (chosen.gain - rejected.gain)
    loss = -(1 - smoothing) * logsigmoid(margin)
    return loss - smoothing * logsigmoid(-margin) if smoothing else loss


def sigmoid_norm(chosen: Responses, rejected: Responses, beta: float, smoothing: float) -> Tensor:
    """-log s(b (w' - l')), with log-ratios per token: length-normalized DPO (arXiv 2411.15124)."""
    return -logsigmoid(beta * (chosen.gain / chosen.tokens - rejected.gain / rejected.tokens))


def ipo(chosen: Responses, rejected: Responses, beta: float, smoothing: float) -> Tensor:
    """(w' - l' - 1 / (2 b))^2, with log-ratios per token: IPO (arXiv 2310.12036)."""
    return (chosen.gain / chosen.tokens - rejected.gain / rejected.tokens - 1 / (2 * beta)) ** 2


def hinge(chosen: Responses, rejected: Responses, beta: float, smoothing: float) -> Tensor:
    """max(0, 1 - b (w - l)): SLiC (arXiv 2309.06657)."""
    return torch.relu(1 - beta * (chosen.gain - rejected.gain))


def robust(chosen: Responses, rejected: Responses, beta: float, smoothing: float) -> Tensor:
    """(-(1 - e) log s(b (w - l)) + e log s(b (l - w))) / (1 - 2 e): robust DPO (arXiv 2403.00409)."""
    margin = beta * (chosen.gain - rejected.gain)
    apart = smoothing * logsigmoid(-margin) - (1 - smoothing) * logsigmoid(margin)
    return apart / (1 - 2 * smoothing)


def exo_pair(chosen: Responses, rejected: Responses, beta: float, smoothing: float) -> Tensor:
    """KL between (s(b (w - l)), s(b (l - w))) and (1 - e, e): EXO (arXiv 2402.00856)."""
    margin = beta * (chosen.gain - rejected.gain)
    win, lose = logsigmoid(margin), logsigmoid(-margin)
    return win.exp() * (win - math.log1p(-smoothing)) + lose.exp() * (lose - math.log(smoothing))


def nca_pair(chosen: Responses, rejected: Responses, beta: float, smoothing: float) -> Tensor:
    """-log s(b w) - (log s(-b w) + log s(-b l)) / 2: NCA (arXiv 2402.05369)."""
    win, lose = beta * chosen.gain, beta * rejected.gain
    return -logsigmoid(win) - 0.5 * (logsigmoid(-win) + logsigmoid(-lose))


def bco_pair(chosen: Responses, rejected: Responses, beta: float, smoothing: float) -> Tensor:
    """-log s(b w) - log s(-b l): BCO without its running mean (arXiv 2404.04656)."""
    return -logsigmoid(beta * chosen.gain) - logsigmoid(-beta * rejected.gain)


def sppo_hard(chosen: Responses, rejected: Responses, beta: float, smoothing: float) -> Tensor:
    """(w - 1 / (2 b))^2 + (l + 1 / (2 b))^2: SPPO with certain preferences (arXiv 2405.00675)."""
    return (chosen.gain - 0.5 / beta) ** 2 + (rejected.gain + 0.5 / beta) ** 2


def apo_zero(chosen: Responses, rejected: Responses, beta: float, smoothing: float) -> Tensor:
    """1 - s(b w) + s(b l): APO for chosen responses better than the model's (arXiv 2408.06266)."""
    return torch.sigmoid(-beta * chosen.gain) + torch.sigmoid(beta * rejected.gain)


def apo_down(chosen: Responses, rejected: Responses, beta: float, smoothing: float) -> Tensor:
    """s(b w) + 1 - s(b (w - l)): APO for chosen responses worse than the model's (arXiv 2408.06266)."""
    return torch.sigmoid(beta * chosen.gain) + torch.sigmoid(beta * (rejected.gain - chosen.gain))


def discopop(chosen: Responses, rejected: Responses, beta: float, smoothing: float) -> Tensor:
    """-(1 - m) log s(d) + m exp(-d), with d = b (w - l) and m = s(d / tau) (arXiv 2406.08414)."""
    margin = beta * (chosen.gain - rejected.gain)
    mixed = torch.sigmoid(margin / TAU)
    # m exp(-d) as one power: exp(-d) alone overflows.
    return (mixed - 1) * logsigmoid(margin) + torch.exp(logsigmoid(margin / TAU) - margin)


PAIR_LOSSES: Mapping[str, Loss] = {
    loss.__name__: loss
    for loss in (
        sigmoid,
        ipo,
        hinge,
        robust,
        exo_pair,
        nca_pair,
        bco_pair,
        sppo_hard,
        apo_zero,
        apo_down,
        discopop,
        sigmoid_norm,
    )
}
