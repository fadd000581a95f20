"""NNCF, Intel's own tool for OpenVINO, on the ONNX file."""

import logging
from typing import Any

import onnx

from deploy.bundle import Bundle
from deploy.routes import Crops, last_convolution


def nncf_performance(bundle: Bundle, crops: Crops) -> onnx.ModelProto:
    """NNCF's `quantize`, symmetric, with ranges as it chooses them."""
    return _quantised(bundle, crops)


def nncf_minmax(bundle: Bundle, crops: Crops) -> onnx.ModelProto:
    """NNCF's `quantize`, symmetric: ranges reach to the largest value."""
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    plain = AdvancedQuantizationParameters(
        activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX
    )
    return _quantised(bundle, crops, advanced_parameters=plain)


def _quantised(bundle: Bundle, crops: Crops, **options: Any) -> onnx.ModelProto:
    import nncf

    logging.getLogger("nncf").setLevel(logging.ERROR)
    model = onnx.load(bundle.model("fp32"))
    rounded: onnx.ModelProto = nncf.quantize(
        model,
        nncf.Dataset([{"frames": crop_1HW3} for crop_1HW3 in crops]),
        preset=nncf.QuantizationPreset.PERFORMANCE,
        target_device=nncf.TargetDevice.ANY,
        subset_size=len(crops),
        ignored_scope=nncf.IgnoredScope(names=[last_convolution(model)]),
        **options,
    )
    return rounded
