"""Measures of reconstruction and disentanglement, as functions of arrays."""

import numpy as np
import torch
from torch import Tensor


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of image pairs (B, C, H, W) in [0, 1]: (B,)."""
    return -10 * ((a - b) ** 2).flatten(1).mean(1).clamp(min=1e-10).log10()


def histogram_codes(codes: np.ndarray, bins: int = 20) -> np.ndarray:
    """Codes (N, D) -> bin numbers (N, D): equal widths from minimum to maximum per column."""
    low, high = codes.min(0), codes.max(0)
    width = np.where(high > low, high - low, 1)
    return np.minimum((bins * (codes - low) / width).astype(np.int64), bins - 1)


def mutual_information(a: np.ndarray, b: np.ndarray) -> float:
    """Mutual information in nats of two integer columns (N,)."""
    joint = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(joint, (a, b), 1)
    joint /= joint.sum()
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    seen = joint > 0
    return float((joint[seen] * np.log(joint[seen] / independent[seen])).sum())


def mig(codes: np.ndarray, labels: np.ndarray, bins: int = 20) -> float:
    """Mutual information gap (Chen et al., NeurIPS 2018, eq. 6) of codes (N, D) against integer
    factor classes (N, K), with disentanglement_lib's 20 histogram bins. 1 is perfect.

    Factors with a single value are left out. Its ceiling is below 1 for factors with more values
    than bins.
    """
    binned = histogram_codes(codes, bins)
    gaps = []
    for k in range(labels.shape[1]):
        entropy = mutual_information(labels[:, k], labels[:, k])
        if entropy > 0:
            known = (mutual_information(binned[:, j], labels[:, k]) for j in range(codes.shape[1]))
            *_, second, first = sorted([0.0, *known])  # a lone latent leads by all it knows
            gaps.append((first - second) / entropy)
    return float(np.mean(gaps))


@torch.inference_mode()
def reconstruction(model: torch.nn.Module, images: Tensor, batch: int = 512) -> float:
    """Mean PSNR in dB of decode(encode(x)) over images (N, C, 64, 64) uint8."""
    device = next(model.parameters()).device
    values = []
    for part in images.split(batch):
        x = part.to(device).float() / 255
        values.append(psnr(model.decode(model.encode(x)), x))
    return torch.cat(values).mean().item()
