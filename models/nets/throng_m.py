"""throng-m, the default student: ResNet18 to stride 16, with as many of its blocks as wanted.

Published are two blocks a stride. A student can learn with all, lose some, and go on.
"""

from collections.abc import Sequence

from torch import nn

from models.nets._residual import Trunk
from models.nets._surrounded import Surrounded


class ThrongM(Surrounded):
    def __init__(self, width: int = 128, blocks: Sequence[int] = (2, 2, 2)) -> None:
        trunk = Trunk(nn.Conv2d(3, 64, 7, 2, 3), nn.MaxPool2d(3, 2, 1), blocks)
        super().__init__(trunk, c_8=128, c_16=256, width=width)


net = ThrongM
