"""FitNets (Romero et al., ICLR 2015): a layer of the student learns to predict one of the teacher.

The paper trains up to that layer with the hint alone, then the whole net without it; here both
losses go side by side, as in every other method, so that rows of a table differ in one thing.

Shapes: N crops, C channels, h x w cells.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from distill.batch import Batch, Lessons
from distill.losses import LOSSES, over_labelled
from distill.methods import Method
from models.errors import ConfigError
from models.nets import CountingNet, widths_of


class FitNet(Method):
    """`layer` is the student's hint and `teacher_layer` the teacher's, where the names differ.

    A 1 x 1 convolution takes the student's channels to the teacher's. A ReLU follows, because both
    sides must have the same non-linearity (section 2.2): the hints of all our nets come after one.
    """

    roles = ("teacher",)

    def __init__(
        self,
        loss: str = "chi",
        *,
        layer: str = "front",
        teacher_layer: str = "",
        weight: float = 0.5,
    ) -> None:
        super().__init__()
        self.loss = LOSSES[loss]()
        self.layer, self.teacher_layer, self.weight = layer, teacher_layer or layer, weight
        self.regressor = nn.Sequential()

    def meet(self, *, student: CountingNet, teachers: Mapping[str, CountingNet]) -> None:
        if "teacher" not in teachers:
            raise ConfigError(
                "fitnet wants hints of its teacher, and a bank holds none: set bank=''"
            )
        narrow = _width(student, self.layer)
        wide = _width(teachers["teacher"], self.teacher_layer)
        conv = nn.Conv2d(narrow, wide, 1)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]  # the bias is there: it is on by default
        self.regressor = nn.Sequential(conv, nn.ReLU())

    def terms(
        self, batch: Batch, *, student: CountingNet, lessons: Lessons, done: float
    ) -> dict[str, Tensor]:
        look = student.look(batch.frames_N3HW)
        guess = self.regressor(look.hints[self.layer])
        hint = lessons["teacher"].hints[self.teacher_layer]
        terms = over_labelled(self.loss(look, batch), batch)
        cells = look.density_N1hw[0].numel()
        terms["hint"] = self.weight * cells * unexplained(student=guess, teacher=hint).mean()
        return terms


def unexplained(*, student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error of each crop over the teacher's mean square (N), in fp32.

    So the weight means the same for any teacher: features of VGG are tens, others are below one,
    and the paper, which trains with the hint alone, need not care. Raises ConfigError for layers of
    different sizes.
    """
    if student.shape != teacher.shape:
        sizes = f"{tuple(student.shape[2:])} and the teacher's {tuple(teacher.shape[2:])}"
        raise ConfigError(f"fitnet wants layers of one size: the student's has {sizes}")
    error_N = (student.float() - teacher.float()).square().mean(dim=(1, 2, 3))
    power_N: Tensor = teacher.float().square().mean(dim=(1, 2, 3))
    return error_N / power_N.clamp(min=1e-6)


def _width(net: CountingNet, layer: str) -> int:
    widths = widths_of(net)
    if layer not in widths:
        there = ", ".join(widths)
        raise ConfigError(f"fitnet finds no hint {layer!r} in {type(net).__name__}: it has {there}")
    return widths[layer]


method = FitNet
