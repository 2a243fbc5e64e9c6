"""Pictures and true factors of a data set by number, for who looks at some of them and not at all."""

from functools import lru_cache

import numpy as np
import torch

from engine.data import DataError, Dataset, KnownFactor, load
from engine.files import Damaged
from engine.serve import Refusal


@lru_cache(maxsize=8)
def _dataset(name: str) -> Dataset:
    return load(name)


def _known(name: str, index: np.ndarray) -> tuple[Dataset, torch.Tensor]:
    try:
        data = _dataset(name)
    except (DataError, Damaged) as error:
        raise Refusal(str(error)) from None
    numbers = torch.as_tensor(np.asarray(index, np.int64))
    if numbers.ndim != 1 or (len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < len(data)):
        raise Refusal(f"The pictures of '{data.name}' are numbered from 0 to {len(data) - 1:,}.")
    return data, numbers


def pictures_of(data: str, index: np.ndarray) -> np.ndarray:
    """The pictures of a data set numbered `index` (B,): (B, 64, 64, 3) uint8. Raises Refusal for what is not there."""
    known, numbers = _known(data, index)
    images = known.images(numbers)
    return images.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()


def truth_of(data: str, index: np.ndarray) -> tuple[tuple[KnownFactor, ...], np.ndarray]:
    """What is known of those pictures: the factors, K of them, and their values (B, K), class numbers where a
    factor has a ladder; K is 0 for photos. Raises Refusal for what is not there."""
    known, numbers = _known(data, index)
    if not known.factors:
        return (), np.zeros((len(numbers), 0))
    return known.factors, known.labels(numbers).numpy()
