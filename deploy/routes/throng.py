"""The route that bundles ship with."""

import onnx

from deploy.bundle import Bundle
from deploy.quantise import int8_of
from deploy.routes import Crops


def throng(bundle: Bundle, crops: Crops) -> onnx.ModelProto:
    """`deploy/quantise.py`: least mean square error, short cuts in int8, the head fitted again."""
    return int8_of(bundle, crops)
