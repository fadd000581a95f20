"""What both torch engines share: the trained net of a bundle, as it is deployed, in a precision.

This is the one place where serving reaches the training half of `models`: torch runs the net
itself, not a graph. The service never imports it; pyproject.toml lists the exception by name.
"""

import torch
from torch import Tensor, nn

from deploy.bundle import WEIGHTS, Bundle
from models.checkpoint import load_checkpoint
from models.errors import DataError, EngineError
from models.nets import Pixels

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class Deployed(nn.Module):
    """uint8 RGB frames in, (N, h, w) people per cell out, float32.

    Autocast lets a net keep its last layer, which gives the people, in fp32. Weights of all other
    convolutions are stored in the precision, so that no call casts them again.
    """

    def __init__(self, pixels: Pixels, precision: str) -> None:
        super().__init__()
        self.pixels: Pixels = pixels.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # its stub lacks it
        self._dtype = DTYPES[precision]
        for module in self.pixels.modules():
            if isinstance(module, nn.Conv2d) and module.out_channels > 1:
                module.to(self._dtype)

    def forward(self, frames_NHW3: Tensor) -> Tensor:
        coarse = self._dtype != torch.float32
        with torch.autocast(frames_NHW3.device.type, dtype=self._dtype, enabled=coarse):
            maps_Nhw: Tensor = self.pixels(frames_NHW3)
        return maps_Nhw.float()


def deployed(bundle: Bundle, *, precision: str, device: str) -> Deployed:
    """Raises EngineError where the bundle's weights cannot be used."""
    if WEIGHTS not in bundle.manifest.files:
        raise EngineError(f"bundle {bundle.name} has no weights that torch could run")
    try:
        net = load_checkpoint(bundle.weights).net
        return Deployed(Pixels(net).eval().requires_grad_(False).to(device), precision)
    except (DataError, RuntimeError) as error:
        first = str(error).partition("\n")[0]
        raise EngineError(f"torch cannot load bundle {bundle.name}: {first}") from error
