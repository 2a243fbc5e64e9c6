"""People: 4,000 of those whom `faces.py` draws, each in eight pictures.

For trainings that may be told who is who: what is of the person stays from one picture to the next (age, build,
shape of the head and its parts, skin, hair, eyes), all else is drawn anew. Nobody of them is among the faces of
`faces.py`, so those tell what a model makes of strangers.
"""

import torch
from torch import Tensor

from engine.data.dataset import Dataset, KnownFactor
from engine.data.faces import FACTORS, Faces, uniforms, valued

PERSONS, SITTINGS = 4_000, 8
OF_THE_SITTING = ("smile", "jaw open", "brows", "eyelids", "yaw", "pitch", "lamp", "background hue", "shirt hue")
PERSON = KnownFactor("person", tuple(map(float, range(PERSONS))), categorical=True)
FIRST, FIRST_PERSON = 1_000_000, 2_000_000  # numbers of the noise, far from those of the faces


class People(Dataset):
    """32,000 drawn faces of 4,000 people; see the module docstring. Their last factor is who it is."""

    name = "people"
    channels = 3
    factors = (*FACTORS, PERSON)
    origin = f"{PERSONS:,} people of the same kind, each drawn {SITTINGS} times."

    def __init__(self):
        self._faces = Faces()

    def __len__(self) -> int:
        return PERSONS * SITTINGS

    def labels(self, index: Tensor) -> Tensor:
        person = index // SITTINGS
        sitting, own = (uniforms(number, len(FACTORS)) for number in (FIRST + index, FIRST_PERSON + person))
        changes = torch.tensor([f.name in OF_THE_SITTING for f in FACTORS], device=index.device)
        return torch.cat([valued(torch.where(changes, sitting, own)), person[:, None].float()], 1)

    def images(self, index: Tensor) -> Tensor:
        return self._faces.render(self.labels(index)[:, :-1])
