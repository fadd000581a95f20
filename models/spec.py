"""What a net is fed: the rule that training, export and serving share, and that ships as JSON."""

from dataclasses import dataclass


@dataclass(frozen=True)
class InputSpec:
    """RGB pixels 0..255 become (pixel / 255 - mean) / std, inside the exported graph."""

    stride: int  # pixels per cell of the density map
    multiple: int  # sides of the input must be whole multiples of this
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)  # ImageNet's
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
