"""How much of a frame goes into its convolutions: OpenVINO counts the time of each layer.

The graph is compiled with the engine's own options for one lane, and with counting switched on.
"""

from collections.abc import Sequence
from datetime import timedelta
from time import perf_counter
from typing import Any

import numpy as np

from deploy.bundle import Bundle
from deploy.engines import Frames, Precision
from deploy.engines.openvino import options_of, read

RUNS = 40
WARM = 5


def convolutions_share(bundle: Bundle, precision: Precision, frames_NHW3: Frames) -> float:
    """The median over runs of the share of one batch's time that its convolutions take.

    Both are by the clock on the wall and of one run: whatever else the machine does slows both.
    """
    request = counting(bundle, precision, frames_NHW3.shape).create_infer_request()
    shares = []
    total_s = 0.0
    for runs in range(1, WARM + RUNS + 1):
        begin_s = perf_counter()
        request.infer([frames_NHW3], share_inputs=True)
        took_s = perf_counter() - begin_s
        before_s, total_s = total_s, runs * _mean_s(request)
        shares.append((total_s - before_s) / took_s)
    return float(np.median(shares[WARM:]))


def _mean_s(request: Any) -> float:
    """Of all convolutions together. OpenVINO gives the mean of all runs so far, the first included,
    which is slow: the latest alone is a difference of sums."""
    layers = request.profiling_info
    times = (layer.real_time for layer in layers if layer.node_type == "Convolution")
    return sum(times, timedelta()).total_seconds()


def counting(bundle: Bundle, precision: Precision, shape: Sequence[int]) -> Any:
    """The compiled graph."""
    import openvino

    core = openvino.Core()
    model = read(core, bundle, precision=precision)
    model.reshape(list(shape))
    options = {**options_of(core, precision=precision, lanes=1), "PERF_COUNT": True}
    return core.compile_model(model, "CPU", options)
