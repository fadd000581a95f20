"""ONNX Runtime's static quantisation, with five options that make TensorRT take the result:
symmetric activations, symmetric weights, a scale a channel, biases in float, and no rounding
between a convolution and its ReLU.
"""

import tempfile
from pathlib import Path
from typing import Any

import onnx

from deploy.bundle import Bundle
from deploy.engines import Frames
from deploy.routes import Crops, last_convolution, read

OPTIONS = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "QuantizeBias": False,
    "OpTypesToExcludeOutputQuantization": ["Conv"],
}
HELD = 24  # crops: the histograms of percentiles are made of all activations at once, in memory
PERCENTILE = 99.999


def onnx_runtime_minmax(bundle: Bundle, crops: Crops) -> onnx.ModelProto:
    """ONNX Runtime's `quantize_static`: ranges reach to the largest value."""
    return _quantised(bundle, crops, method="MinMax")


def onnx_runtime_percentile(bundle: Bundle, crops: Crops) -> onnx.ModelProto:
    """ONNX Runtime's `quantize_static`: ranges hold 99.999 % of the values, of 24 crops at most."""
    some = crops[:: -(-len(crops) // HELD)]
    return _quantised(bundle, some, method="Percentile", CalibPercentile=PERCENTILE)


def _quantised(bundle: Bundle, crops: Crops, *, method: str, **options: Any) -> onnx.ModelProto:
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        plain, rounded = Path(folder) / "plain.onnx", Path(folder) / "rounded.onnx"
        quant_pre_process(bundle.model("fp32"), plain, skip_symbolic_shape=True)
        quantization.quantize_static(
            plain, rounded, _Reader(crops),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=["Conv", "MaxPool"],
            nodes_to_exclude=[last_convolution(onnx.load(plain))],
            calibrate_method=quantization.CalibrationMethod[method],
            extra_options={**OPTIONS, **options},
        )  # fmt: skip
        return read(rounded)


class _Reader:
    """Gives the crops one by one, and None after the last."""

    def __init__(self, crops: Crops) -> None:
        self._crops = iter(crops)

    def get_next(self) -> dict[str, Frames] | None:
        crop_1HW3 = next(self._crops, None)
        return None if crop_1HW3 is None else {"frames": crop_1HW3}
