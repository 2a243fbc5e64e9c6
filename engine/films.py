"""Films of a model's pictures: along one factor and back, or from code to code; as GIF and as MP4.

Frames are drawn as the page draws a moving slider, by a model's quick way where it has a slow one too. Both
formats repeat without a seam and carry where they come from as their comment.
"""

from collections.abc import Hashable
from io import BytesIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from engine.provenance import VERSION, Origin, enlarged
from engine.serve import Engine, Refusal

FPS = 25
SWEEP = 49          # frames from a factor's low end to its high end
LEG = 24            # frames from one keyframe to the next
HOLD = 8            # frames that a keyframe stands still
KEYFRAMES = 12      # at most
COLOURS = 256       # of a frame of a GIF
LARGEST = 512       # pixels of a side; larger films take the memory of a server


def along(engine: Engine, model: str, code: np.ndarray, factor: str, lane: Hashable = None) -> np.ndarray:
    """A code (D,) moved along a factor from its low end to its high end and back, fastest in the middle:
    (2 * SWEEP - 2, 64, 64, 3) uint8. Raises Refusal."""
    known, base = engine.factor(model, factor), engine.codes(model, [code])
    rows = known.write(base.expand(SWEEP, -1), torch.lerp(*torch.tensor([known.low, known.high]), eased(SWEEP)))
    there = engine.decode(model, rows.numpy(), lane).get()
    return np.concatenate([there, there[-2:0:-1]])


def through(engine: Engine, model: str, codes: np.ndarray, lane: Hashable = None) -> np.ndarray:
    """From each of K codes (K, D) to the next and from the last to the first, standing still at each:
    (K * (HOLD + LEG), 64, 64, 3) uint8. K is from 2 to KEYFRAMES. Raises Refusal."""
    if not 2 <= len(codes) <= KEYFRAMES:
        raise Refusal(f"A film goes through 2 to {KEYFRAMES} keyframes.")
    stops = engine.codes(model, codes)
    share = eased(LEG + 1)[:-1, None]
    rows = torch.cat([torch.lerp(a, b, share) for a, b in zip(stops, stops.roll(-1, 0), strict=True)])
    drawn = engine.decode(model, rows.numpy(), lane).get().reshape(len(stops), LEG, 64, 64, 3)
    return np.concatenate([np.concatenate([leg[:1].repeat(HOLD, 0), leg]) for leg in drawn])


def eased(count: int) -> Tensor:
    """`count` shares from 0 to 1 that begin and end slowly: half a cosine."""
    return 0.5 - 0.5 * torch.cos(torch.linspace(0, torch.pi, count))


def gif(frames: np.ndarray, own: Origin) -> bytes:
    """Frames (T, 64, 64, 3) uint8 as the bytes of a GIF at the side that `own` names. Every frame has a palette of
    its own, found at 64 pixels, where hardly a colour is lost. Raises Refusal."""
    _check(own)
    made = {frame.tobytes(): frame for frame in frames}  # there and back: one half of them is the other half
    made = {key: _paletted(frame, own) for key, frame in made.items()}
    images = [made[frame.tobytes()] for frame in frames]
    buffer = BytesIO()
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=1000 // FPS, loop=0,
                   comment=own.text().encode())
    return buffer.getvalue()


def mp4(frames: np.ndarray, own: Origin) -> bytes:
    """Frames (T, 64, 64, 3) uint8 as the bytes of an MP4 (H.264) at the side that `own` names. Raises Refusal where
    the encoder is missing."""
    _check(own)
    try:
        import av  # 70 MB of libraries that only this needs
    except ImportError:
        raise Refusal("MP4 needs the package 'av', which is not installed; a GIF needs nothing.") from None
    buffer = BytesIO()
    with av.open(buffer, "w", format="mp4") as film:
        film.metadata.update(title=f"film by {own.model}", encoder=f"Unravel {VERSION}", comment=own.text())
        try:
            stream = film.add_stream("libx264", rate=FPS, options={"crf": "14"})
        except av.error.FFmpegError:
            raise Refusal("This machine's 'av' has no encoder for H.264; a GIF needs none.") from None
        stream.width = stream.height = own.side
        stream.pix_fmt = "yuv420p"  # what every player and browser can show
        for frame in frames:
            picture = np.ascontiguousarray(enlarged(frame, own.side, own.smooth))
            film.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        film.mux(stream.encode())
    return buffer.getvalue()


def _check(own: Origin) -> None:
    if own.side > LARGEST:
        raise Refusal(f"A film is saved at {LARGEST} pixels or fewer.")


def _paletted(frame: np.ndarray, own: Origin) -> Image.Image:
    """A frame of a GIF. The colours that cover most, moved to the means of what they stand for, are 42 dB from the
    true ones on faces, where Pillow's median cut is 37."""
    small = Image.fromarray(frame).quantize(
        COLOURS, Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)
    if own.smooth:  # new colours, between those of the palette
        return Image.fromarray(enlarged(frame, own.side, True)).quantize(palette=small, dither=Image.Dither.NONE)
    return small.resize((own.side, own.side), Image.Resampling.NEAREST)
