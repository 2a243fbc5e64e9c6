"""What codes have in common, as losses: contents with styles, and the contents of one set with those of another."""

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from engine.fusion import standardised

SMALL = 1e-8    # variance at which a number of a code counts as constant
BLUR = 0.05     # cosine by which a partner must be nearer than another one to be the clear choice
ROUNDS = 30     # of scaling rows and columns in turn


def in_common(content: Tensor, style: Tensor) -> Tensor:
    """Squared correlations of contents (B, C) with styles (B, S): their sum over contents, mean over
    styles. Contents without noise that are uncorrelated with each other would explain so much of a style's variance;
    where there is nothing in common, C / B is left by chance."""
    one, two = (standardised(h, (0,), SMALL) for h in (content, style))
    return ((one.T @ two / len(content)) ** 2).sum(0).mean()


def transport(cost: Tensor, here: Tensor, there: Tensor) -> Tensor:
    """The plan (P, N, M) by which the members of one set go to those of another at the least cost (P, N, M), blurred by
    entropy; `here` (P, N) and `there` (P, M) say who is a member, each of a set with the same share
    [Cuturi, "Sinkhorn Distances", NeurIPS 2013, algorithm 1]."""
    a, b = (who / who.sum(1, keepdim=True).clamp(min=1) for who in (here.float(), there.float()))
    kernel = torch.exp(-cost / BLUR)
    u, v = a, b
    for _ in range(ROUNDS):
        u = a / (kernel * v[:, None]).sum(2).clamp(min=1e-30)  # products of matrices might be of half precision
        v = b / (kernel * u[:, :, None]).sum(1).clamp(min=1e-30)
    return u[:, :, None] * kernel * v[:, None]


def matched(one: Tensor, other: Tensor, here: Tensor, there: Tensor) -> Tensor:
    """How far two sets of contents, one (P, N, C) and other (P, M, C), are from being the same: mean of 1 less the
    cosine of partners, as `transport` pairs them; whom it pairs is not to be learnt. `here`, `there` as there."""
    cost = 1 - cosine_similarity(one[:, :, None], other[:, None], 3)
    plan = transport(cost.detach(), here, there)
    return (plan * cost).sum((1, 2)).mean()
