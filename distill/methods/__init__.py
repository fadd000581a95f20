"""Methods: what a student is taught with. Each file holds `method(**arguments) -> Method`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar

from torch import Tensor, nn

from distill.batch import Batch, Lessons
from models.nets import CountingNet
from models.plugins import Plugins


class Method(nn.Module, ABC):
    """Losses of a step. Parameters of its own (projections) learn with the student and are no part
    of it: they stay behind in the run's state.
    """

    roles: ClassVar[tuple[str, ...]] = ()
    """What its teachers are called."""

    rate: float | None = None
    """That its own parameters learn at; None: the student's."""

    def meet(self, *, student: CountingNet, teachers: Mapping[str, CountingNet]) -> None:
        """Called once before the first step: the place to make such parameters.

        `teachers` is empty where lessons come from a bank. Raises ConfigError where a hint that the
        method wants is missing.
        """

    @abstractmethod
    def terms(
        self, batch: Batch, *, student: CountingNet, lessons: Lessons, done: float
    ) -> dict[str, Tensor]:
        """Named scalar losses; the loop adds them up and logs each. `done`: 0..1 of the run."""


METHODS: Plugins[Callable[..., Method]] = Plugins("distill.methods", "method")
