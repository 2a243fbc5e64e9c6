"""Make `assets/data/glyphs.xz`, the letters that `glyphs.py` shows: `python -m engine.data.make_glyphs [FOLDER]`.

Without a folder, from the Debian package fonts-aenigma (`apt-get install fonts-aenigma`): 465 typefaces by
Brian Kent, who allows to pass them on, to change them and to make new ones of them, as long as changes are
noted and the originals are attributed to him. The changes: capitals only, drawn into 64x64 pixels of sixteen
levels, each made to fill the picture; typefaces that are not legible are left out (`legible`).
"""

import argparse
import json
from pathlib import Path

import numpy as np

from engine.data.glyphs import LETTERS, NAMES, SHEET, drawn, packed
from engine.files import write_atomically, write_manifest

PACKAGE = Path("/usr/share/fonts/truetype/aenigma")
ORIGIN = (
    "Drawn here from 'Aenigma' typefaces by Brian Kent (Debian package fonts-aenigma; free to redistribute and "
    "to change, with attribution): capitals only, scaled to fill the picture."
)
VOTERS = 5          # most similar letters of other families that say which letter it is
READABLE = 0.3      # share of its letters that they must name rightly


def legible(ink: np.ndarray, names: list[str]) -> np.ndarray:
    """Which typefaces of ink (F, 26, 64, 64) can be read: (F,) bool.

    A letter is read by the five most similar letters, of 16x16 pixels, of all other families; two or more must
    agree. A family has the first five characters of its names in common: pictograms that come in
    several versions shall not vouch for each other.
    """
    count = len(LETTERS)
    coarse = ink.reshape(-1, 16, 4, 16, 4).mean((2, 4)).reshape(len(ink) * count, -1).astype(np.float32)
    coarse -= coarse.mean(1, keepdims=True)
    coarse /= np.linalg.norm(coarse, axis=1, keepdims=True) + 1e-9
    family = np.array([name[:5].lower() for name in names])
    readable = []
    for k in range(len(ink)):
        alike = coarse[k * count:(k + 1) * count] @ coarse.T
        alike[:, np.repeat(family == family[k], count)] = -1
        votes = np.argsort(-alike, 1)[:, :VOTERS] % count
        tally = (votes[:, :, None] == np.arange(count)).sum(1)         # (26, 26)
        right = (tally.argmax(1) == np.arange(count)) & (tally.max(1) >= 2)
        readable.append(right.mean() >= READABLE)
    return np.array(readable)


def build(folder: Path, sheet: Path = SHEET, names: Path = NAMES, origin: str = ORIGIN) -> int:
    """Draw the legible fonts of `folder` and write the sheet, the names and their manifest; returns how many."""
    found = sorted(drawn(folder))
    if not found:
        raise SystemExit(f"There are no fonts in {folder}: run `apt-get install fonts-aenigma`, or name a folder.")
    ink = np.stack([letters for _, letters in found])
    keep = legible(ink, [name for name, _ in found])
    chosen = [name for (name, _), kept in zip(found, keep, strict=True) if kept]
    sheet.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(sheet, packed(ink[keep]))
    about = {"origin": origin, "letters": LETTERS, "typefaces": chosen}
    write_atomically(names, json.dumps(about, indent=1, ensure_ascii=False).encode() + b"\n")
    write_manifest(sheet.parent)
    return len(chosen)


def main() -> None:
    """Entry point of `python -m engine.data.make_glyphs`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="of fonts; the Debian package's if not given")
    folder = parser.parse_args().folder
    if folder is not None:
        count = build(folder, origin=f"Drawn here from the fonts in {folder.name}.")
    else:
        count = build(PACKAGE)
    print(f"{SHEET.name}: {count} typefaces, {SHEET.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
