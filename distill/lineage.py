"""What a run has from other runs: teachers, and the student that it starts from."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from distill import state
from distill.recipes import Recipe, Teacher, recipe
from models.checkpoint import load_checkpoint
from models.errors import DataError
from models.nets import NETS, CountingNet


def teachers_of(taught: Recipe, runs: Path) -> dict[str, CountingNet]:
    """The recipe's teachers by role; none where their lessons are in a bank.

    Raises DataError where the run of one is missing or not finished.
    """
    if taught.bank:
        return {}
    return {role: _teacher(teacher, runs) for role, teacher in taught.teachers.items()}


def forebears(descendant: Recipe, runs: Path) -> dict[str, str]:
    """SHA-256 of what the run has from others, by paths below `runs`: checkpoints, or the page of a
    bank, which names those of its teachers.

    Raises DataError where a run is missing or not finished, or a bank is missing.
    """
    files = {}
    if descendant.bank:
        files[f"{descendant.bank}/bank.json"] = described(runs / descendant.bank)
    else:
        for teacher in descendant.teachers.values():
            if not teacher.fresh:
                name = f"{teacher.run}/best.safetensors"
                files[name] = finished(runs, teacher.run) / "best.safetensors"
    for start in descendant.starts:
        files[f"{start}/last.safetensors"] = finished(runs, start) / "last.safetensors"
    return {name: sha256(path) for name, path in files.items()}


def steps_before(descendant: Recipe, runs: Path) -> int:
    """Steps of the runs that it goes on from: its crops are those that would have come next.

    So two runs of as long a start see the same crops, and no run sees its start's again.
    """
    return max((_steps(finished(runs, start)) for start in descendant.starts), default=0)


def _steps(run: Path) -> int:
    facts = load_checkpoint(run / "last.safetensors").facts
    return int(facts["step"]) + int(facts.get("before", 0))


def finished(runs: Path, name: str) -> Path:
    """The folder of the run of that name. Raises DataError where it is missing or not finished."""
    last, first = (
        runs / name / "last.safetensors",
        f"first `throng-distill run {name} --out {runs / name}`",
    )
    if not last.is_file():
        raise DataError(f"no finished run at {last.parent}: {first}")
    facts = load_checkpoint(last).facts
    done, wanted = facts["step"], facts["recipe"]["steps"]
    if done < wanted:
        raise DataError(f"the run at {last.parent} is at step {done} of {wanted}: {first}")
    return last.parent


def described(bank: Path) -> Path:
    """What a bank says of itself. Raises DataError where there is none."""
    path = bank / "bank.json"
    if not path.is_file():
        raise DataError(f"no bank at {bank}: first `throng-distill bank RECIPE`")
    return path


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy_weights(runs: Sequence[Path], student: nn.Module) -> None:
    """The student takes the mean of those runs' last weights.

    Layers that the student has not are left out: a block can be cut, and the rest goes on. Raises
    DataError where a run's are of another net.
    """
    taken = [_loaded(run / "last.safetensors", student) for run in runs]
    student.load_state_dict(
        {
            name: torch.stack([one[name].double() for one in taken]).mean(0).to(value.dtype)
            for name, value in student.state_dict().items()
        }
    )


def _loaded(path: Path, student: nn.Module) -> dict[str, Tensor]:
    """The student's weights, by its own names, as that file has them."""
    weights = load_checkpoint(path).net.state_dict()
    another = DataError(f"{path} holds another net than {type(student).__name__}")
    try:
        missing = student.load_state_dict(weights, strict=False).missing_keys
    except RuntimeError as error:
        raise another from error
    if missing:
        raise another
    return {name: value.clone() for name, value in student.state_dict().items()}


def copy_method(run: Path, method: nn.Module) -> None:
    """The method takes what that run's had learned, where it had the same parameters.

    Raises DataError where the state of that run is missing, broken, or older than its last weights.
    """
    if wanted := method.state_dict():
        step, groups = state.read(run / "state.safetensors")
        if step < load_checkpoint(run / "last.safetensors").facts["step"]:
            raise DataError(
                f"{run} was cut as it ended: first `throng-distill run {run.name} --out {run}`"
            )
        learned = groups.get("method", {})
        if {n: v.shape for n, v in learned.items()} == {n: v.shape for n, v in wanted.items()}:
            method.load_state_dict(learned)


def _teacher(teacher: Teacher, runs: Path) -> CountingNet:
    if teacher.fresh:
        wanted = recipe(teacher.run)
        return NETS[wanted.net](**wanted.net_arguments)
    return load_checkpoint(finished(runs, teacher.run) / "best.safetensors").net
