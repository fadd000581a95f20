"""Adds `model.int8.onnx` to a bundle: explicit Q/DQ, from the trained net and some real pictures.

Every convolution but the last reads int8 and has int8 weights. A tensor's scale is the one whose
rounding and clipping together cost least (mean squared error over a histogram of its values);
weights have a scale an output channel, from their largest value. Whoever reads a rounded tensor
reads it rounded, short cuts and pooling too, and of two convolutions that are added one is rounded,
so that engines add in int8 what the other still has in its registers. Rounding takes a ReLU
net's small responses away more often than it adds any, so it counts too few: the last convolution
stays in float and is fitted again, in closed form, to what the net says of the same pictures.

Shapes: N frames, H x W pixels, h x w cells, C channels.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from deploy.bundle import MODEL_INT8, Bundle, digest_of
from deploy.calibration import Seen
from deploy.card import describe
from deploy.engines import Frames
from deploy.lint import refuse_broken
from deploy.qdq import convolutions, insert, put, shortcuts
from deploy.stem import pixels_as_channels
from models.checkpoint import load_checkpoint
from models.errors import DataError
from models.geometry import pad
from models.nets import Pixels
from models.progress import tracked
from models.whole import whole

Image = NDArray[np.uint8]

SIDE = 512  # of the crops to calibrate on


def quantise(bundle: Bundle, frames: Iterable[Image]) -> None:
    """Add int8 to a bundle, from uint8 RGB pictures of any size; an older int8 is replaced.

    Raises DataError without pictures, BundleError where the net is of a kind that int8 cannot have.
    """
    crops = crops_of(frames)
    model = int8_of(bundle, crops)
    refuse_broken(model, MODEL_INT8)
    put_int8(bundle, model, pictures=len(crops))


def crops_of(frames: Iterable[Image]) -> list[Frames]:
    """One square from anywhere in each picture, 1 x SIDE x SIDE x 3, always the same for the same
    pictures. Raises DataError without pictures.
    """
    rng = np.random.default_rng(0)
    crops = []
    for frame_HW3 in frames:
        height, width = (max(side, SIDE) for side in frame_HW3.shape[:2])
        padded = pad(frame_HW3, (height, width))
        y, x = rng.integers(0, height - SIDE + 1), rng.integers(0, width - SIDE + 1)
        crops.append(padded[None, y : y + SIDE, x : x + SIDE].copy())
    if not crops:
        raise DataError("no pictures to calibrate on")
    return crops


def int8_of(bundle: Bundle, crops: Sequence[Frames]) -> onnx.ModelProto:
    """A bundle's graph in int8. Raises BundleError for a net of a kind that int8 cannot have."""
    pixels = Pixels(load_checkpoint(bundle.weights).net).eval().requires_grad_(False)
    model = onnx.load(bundle.model("fp32"), load_external_data=False)
    *convs, head = convolutions(model, pixels)
    cuts = shortcuts(model, convs)
    seen = Seen(pixels, convs, cuts, head)
    for crop_1HW3 in tracked("calibrating", total=len(crops))(crops):
        seen.add(torch.from_numpy(crop_1HW3))
    scales = seen.scales()
    fitted = seen.fit(tracked("fitting the head", total=len(crops))(crops), scales)
    names = [f"{head.name}.weight", f"{head.name}.bias"]
    head.node.input[1:] = names  # the exporter leaves a bias of zeros out
    for name, array in zip(names, fitted, strict=True):
        put(model, name, array)
    insert(model, convs, scales)
    pixels_as_channels(model, multiple=bundle.manifest.input.multiple)
    onnx.checker.check_model(model, full_check=True)
    return model


def put_int8(bundle: Bundle, model: onnx.ModelProto, *, pictures: int) -> None:
    """Make a graph that was calibrated on so many pictures the int8 of a bundle.

    The manifest comes last. An older int8 leaves it first: at no moment does a hash lie. Raises
    DataError where it cannot be written.
    """
    folder, manifest = bundle.folder, bundle.manifest
    without = manifest.model_copy(
        update={
            "precisions": {k: v for k, v in manifest.precisions.items() if k != "int8"},
            "files": {k: v for k, v in manifest.files.items() if k != MODEL_INT8},
            "parity": tuple(row for row in manifest.parity if row.precision != "int8"),
            "calibrated_on": None,
        }
    )
    with whole(folder / MODEL_INT8) as partial:
        onnx.save_model(model, partial, save_as_external_data=False)
        if "int8" in manifest.precisions:
            describe(folder, without)
    added = {
        "precisions": {**without.precisions, "int8": MODEL_INT8},
        "files": {**without.files, MODEL_INT8: digest_of(folder / MODEL_INT8)},
        "calibrated_on": pictures,
    }
    describe(folder, without.model_copy(update=added))
