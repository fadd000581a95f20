"""torchao's PT2E: the traced net with observers, converted and exported."""

import warnings
from typing import Any

import onnx
import torch

from deploy.bundle import Bundle
from deploy.export import free_sizes, graph_of
from deploy.routes import Crops
from models.checkpoint import load_checkpoint
from models.nets import Pixels

LARGEST = 127  # symmetric: -128 is not used


def torchao_pt2e(bundle: Bundle, crops: Crops) -> onnx.ModelProto:
    """torchao's PT2E: histogram observers on what convolutions read."""
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    multiple = bundle.manifest.input.multiple
    pixels = Pixels(load_checkpoint(bundle.weights).net).eval().requires_grad_(False)
    frames_NHW3, sizes = free_sizes(multiple)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer's own insides
        traced = torch.export.export(pixels, (frames_NHW3,), dynamic_shapes=(sizes,)).module()
        watched = prepare_pt2e(traced, _quantizer())
        with torch.inference_mode():
            for crop_1HW3 in crops:
                watched(torch.from_numpy(crop_1HW3))
        return graph_of(convert_pt2e(watched), multiple=multiple)


def _quantizer() -> Any:
    """A class of torchao's kind, made where torchao is imported."""
    from torchao.quantization.pt2e import HistogramObserver, PerChannelMinMaxObserver
    from torchao.quantization.pt2e.quantizer import (
        QuantizationAnnotation,
        QuantizationSpec,
        Quantizer,
    )

    def spec(observer: Any, scheme: torch.qscheme, axis: int | None = None) -> Any:
        return QuantizationSpec(
            dtype=torch.int8, quant_min=-LARGEST, quant_max=LARGEST, qscheme=scheme, ch_axis=axis,
            observer_or_fake_quant_ctr=observer,
        )  # fmt: skip

    read = spec(HistogramObserver, torch.per_tensor_symmetric)
    weight = spec(PerChannelMinMaxObserver, torch.per_channel_symmetric, axis=0)

    class ConvolutionsButTheLast(Quantizer):  # type: ignore[misc]  # torchao has no types
        def annotate(self, model: Any) -> Any:
            conv2d = torch.ops.aten.conv2d.default
            *convs, _ = [node for node in model.graph.nodes if node.target == conv2d]
            for node in convs:
                node.meta["quantization_annotation"] = QuantizationAnnotation(
                    input_qspec_map={node.args[0]: read, node.args[1]: weight}, _annotated=True
                )
            return model

        def validate(self, model: Any) -> None:
            pass

    return ConvolutionsButTheLast()
