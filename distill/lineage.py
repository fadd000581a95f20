"""Nets of other runs: teachers, and the student that a run starts from."""

from pathlib import Path

from torch import nn

from distill.recipes import Recipe, Teacher, recipe
from models.checkpoint import load_checkpoint
from models.errors import DataError
from models.nets import NETS, CountingNet


def teachers_of(taught: Recipe, runs: Path) -> dict[str, CountingNet]:
    """The recipe's teachers by role; none where their lessons are in a bank.

    Raises DataError where the run of one has no checkpoint yet.
    """
    if taught.bank:
        return {}
    return {role: _teacher(teacher, runs) for role, teacher in taught.teachers.items()}


def _teacher(teacher: Teacher, runs: Path) -> CountingNet:
    if teacher.fresh:
        wanted = recipe(teacher.run)
        return NETS[wanted.net](**wanted.net_arguments)
    path = runs / teacher.run / "best.safetensors"
    if not path.is_file():
        raise DataError(f"no teacher at {path}: first `throng-distill run {teacher.run}`")
    return load_checkpoint(path).net


def copy_weights(path: Path, student: nn.Module) -> None:
    """Layers that the student has not are left out: a block can be cut, and the rest goes on.

    Raises DataError where the checkpoint is missing or of another net.
    """
    if not path.is_file():
        raise DataError(f"nothing to start from at {path}: first run {path.parent.name}")
    weights = load_checkpoint(path).net.state_dict()
    another = DataError(f"{path} holds another net than {type(student).__name__}")
    try:
        missing = student.load_state_dict(weights, strict=False).missing_keys
    except RuntimeError as error:
        raise another from error
    if missing:
        raise another
