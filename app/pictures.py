"""Arrays of pixels as files, and film strips laid out as one sheet."""

from io import BytesIO

import numpy as np
from PIL import Image


def png(image: np.ndarray) -> bytes:
    """image (H, W, 3) uint8 -> the bytes of a PNG file, without loss."""
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def jpeg(image: np.ndarray, quality: int = 92) -> bytes:
    """image (H, W, 3) uint8, quality in 1..95 -> the bytes of a JPEG file.

    Colour is kept at full resolution (4:4:4): at 64x64 halved colour bleeds across edges.
    """
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling="4:4:4")
    return buffer.getvalue()


def sheet(frames: np.ndarray) -> np.ndarray:
    """frames (R, K, H, W, 3): R film strips of K frames -> one picture (R*H, K*W, 3).

    Strip r fills the pixel rows r*H to (r+1)*H, frame k its columns k*W to (k+1)*W; no gaps, so a
    frame is found by multiplication alone.
    """
    rows, columns, height, width, channels = frames.shape
    return frames.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, channels)


def reduced(images: np.ndarray, side: int) -> np.ndarray:
    """images (N, H, W, 3) uint8 at `side` pixels, by Pillow's box filter."""
    return np.stack([np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BOX)) for image in images])
