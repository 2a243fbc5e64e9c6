"""What codes have in common, as losses: contents with styles, and with each other."""

from torch import Tensor
from torch.nn.functional import cosine_similarity

from engine.fusion import standardised

SMALL = 1e-8  # variance at which a number of a code counts as constant


def in_common(content: Tensor, style: Tensor) -> Tensor:
    """Squared correlations of contents (B, C) with styles (B, S): their sum over contents, mean over
    styles. Contents without noise that are uncorrelated with each other would explain so much of a style's variance;
    where there is nothing in common, C / B is left by chance."""
    one, two = (standardised(h, (0,), SMALL) for h in (content, style))
    return ((one.T @ two / len(content)) ** 2).sum(0).mean()


def alike(content: Tensor, other: Tensor, counted: Tensor) -> Tensor:
    """Squared positive cosine of contents (B, C) and others (B, C): its mean over those that are `counted` (B,)."""
    near = cosine_similarity(content, other, 1).clamp(min=0) ** 2
    return (near * counted).sum() / counted.sum().clamp(min=1)
