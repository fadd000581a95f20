"""What a frame's convolutions cost by themselves: OpenVINO counts the time of each layer.

The graph is compiled as the engine compiles it, with counting switched on, for one thread.
"""

from datetime import timedelta

import numpy as np

from deploy.bundle import Bundle
from deploy.engines import Frames, Precision

RUNS = 40
WARM = 5


def convolutions_ms(bundle: Bundle, precision: Precision, frames_NHW3: Frames) -> float:
    """The median over runs of the time that all convolutions of one batch take together."""
    import openvino

    core = openvino.Core()
    model = core.read_model(bundle.model("int8" if precision == "int8" else "fp32"))
    model.reshape(list(frames_NHW3.shape))
    options = {
        "PERF_COUNT": True,
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": 1,
        "INFERENCE_PRECISION_HINT": "f32" if precision == "fp32" else "bf16",
    }
    request = core.compile_model(model, "CPU", options).create_infer_request()
    sums_ms = []
    for _ in range(WARM + RUNS):
        request.infer([frames_NHW3])
        times = [
            layer.real_time for layer in request.profiling_info if layer.node_type == "Convolution"
        ]
        sums_ms.append(sum(times, timedelta()).total_seconds() * 1e3)
    return float(np.median(sums_ms[WARM:]))
