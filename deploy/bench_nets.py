"""Nets of random weights as bundles, to compare speeds with: speed does not depend on training."""

import logging
from datetime import UTC, datetime
from math import prod
from pathlib import Path

import numpy as np
import onnx
import torch

from deploy.bundle import MODEL, WEIGHTS, Bundle, InputRule, Manifest, Training, digest_of
from deploy.bundle import open_bundle as opened
from deploy.card import describe
from deploy.export import to_onnx
from deploy.quantise import quantise
from models.checkpoint import save_checkpoint
from models.errors import BundleError, ConfigError
from models.interval import Bin, IntervalTable
from models.nets import NETS, CountingNet, parameters_of

log = logging.getLogger(__name__)


def random_bundle(spec: str, folder: Path) -> Bundle:
    """A bundle of `NET` or `NET:argument=number,...` in a new folder, in fp32 and, where the net
    can be quantised, int8.

    It has no validation errors, and its int8 model was made from noise.
    Raises ConfigError for a net or an argument that is not there.
    """
    net, name, arguments = _net(spec)
    folder.mkdir(parents=True)
    onnx.save_model(to_onnx(net), folder / MODEL, save_as_external_data=False)
    save_checkpoint(folder / WEIGHTS, net, name=name, arguments=arguments, facts={})
    manifest = Manifest(
        schema_version=1,
        name=spec,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        commit="random weights",
        net=name,
        arguments=arguments,
        parameters=parameters_of(net),
        input=InputRule(stride=net.spec.stride, multiple=net.spec.multiple),
        precisions={"fp32": MODEL},
        files={file: digest_of(folder / file) for file in (MODEL, WEIGHTS)},
        validation={},
        interval=IntervalTable(coverage=0.0, pictures=0, bins=(Bin(up_to=None, below=1, above=1),)),
        training=Training(data=(), licence="random weights", steps=0, recipe={}),
    )
    describe(folder, manifest)
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (512, 512, 3), dtype=np.uint8) for _ in range(2)]
    try:
        quantise(opened(str(folder)), noise)
    except BundleError as error:
        log.warning("%s is measured without int8: %s", spec, error)
    return opened(str(folder))


def gmac(model: Path, *, height: int, width: int) -> float:
    """Multiply-adds of the convolutions for one frame, in billions, from the fp32 graph."""
    proto = onnx.load(model, load_external_data=False)
    for dim, size in zip(
        proto.graph.input[0].type.tensor_type.shape.dim, (1, height, width, 3), strict=True
    ):
        dim.dim_value = size
    del proto.graph.value_info[:]
    graph = onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True).graph
    sizes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in graph.value_info
    }
    weights = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    total = 0
    for node in graph.node:
        if node.op_type == "Conv":
            _, c_in, *kernel = weights[node.input[1]]  # c_in is that of one group already
            total += prod(sizes[node.output[0]]) * c_in * prod(kernel)
        elif node.op_type == "ConvTranspose":  # each input goes to a kernel of outputs
            _, c_out, *kernel = weights[node.input[1]]
            total += prod(sizes[node.input[0]]) * c_out * prod(kernel)
    return total / 1e9


def _net(spec: str) -> tuple[CountingNet, str, dict[str, int]]:
    name, _, given = spec.partition(":")
    try:
        pairs = (pair.split("=") for pair in given.split(",") if pair)
        arguments = {key: int(value) for key, value in pairs}
        torch.manual_seed(0)
        net = NETS[name](**arguments).eval()
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"--net {spec!r} is not a net: wanted NET or NET:argument=number,... ({error})"
        ) from error
    for key, parameter in net.named_parameters():
        if key.endswith(".bias"):  # new ones are zero, and would be left out of the graph
            torch.nn.init.normal_(parameter, std=0.01)
    return net, name, arguments
