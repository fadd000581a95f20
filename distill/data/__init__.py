"""Data sets: pictures with head points.

Shapes: H x W pixels, P head points (x, y in pixels of the picture as `Sample.read` returns it).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures

from models.errors import DataError
from models.plugins import Plugins

Image = NDArray[np.uint8]
Points = NDArray[np.float32]


@dataclass(frozen=True)
class Sample:
    """One picture on disk and the heads in it."""

    id: str
    path: Path
    points_P2: Points

    @property
    def count(self) -> int:
        return len(self.points_P2)

    def read(self) -> Image:
        """The picture as RGB, H x W x 3, upright as stored (EXIF rotation is not applied).

        Raises DataError for one that is missing, broken or cut off.
        """
        try:
            with Pictures.open(self.path) as picture:
                return np.array(picture.convert("RGB"))
        except (OSError, ValueError, SyntaxError) as error:
            raise DataError(f"{self.path} is not a picture that can be read ({error})") from error


class DataSet(Protocol):
    """Opens a folder laid out as its authors published it; `split` is one of their names."""

    def __call__(self, root: Path, split: str) -> Sequence[Sample]:
        """Raises DataError, naming the path, where the folder is not laid out as expected."""
        ...


DATASETS: Plugins[DataSet] = Plugins("distill.data", "dataset")
