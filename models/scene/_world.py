"""Words that the parts of the scene share. The ground is in metres: X right, Z away, Y up."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Picture = NDArray[np.uint8]
Rng = np.random.Generator

HEAD_M = 0.24
STRIDE_M = 1.45
LOOKS = 192
FADE_M = 1.5  # people come out of, and go into, the doors at the far side over this length
