"""A bank: augmented crops with what teachers say of each, made once and drawn from ever after.

A teacher's look costs as much as the whole step of a small student, and more with several views;
from a bank it costs a read. A bank's folder holds `bank.json` (what it was made from) and shards of
256 crops: frames as JPEG, heads as points, a density map in fp16 for each teacher. A thousand crops
of 256 px with two teachers are 34 MB. Teachers are shown what the JPEG holds, so that is what their
maps belong to.

Shapes: N crops, H x W pixels, h x w cells.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from distill.crops import Crop, CropMaker, Crops, ahead, stacked
from distill.data import Image
from distill.lineage import described, sha256, teachers_of
from distill.loop import CPU, bf16_pays
from distill.recipes import Recipe, Teacher
from distill.views import SCALES, looked_over
from models.errors import ConfigError, DataError
from models.nets import CountingNet, Pixels
from models.progress import Tick, progress
from models.tensors import write_tensors
from models.whole import folder_at, write_text

SHARD = 256  # crops a file: what an interruption costs
SHOWN = 16  # crops a teacher sees at once
QUALITY = 95
ORDER = ("train", "augmentation", "teachers")
"""What a bank and a recipe that draws from it have in common; it may go without the teachers."""


def make_bank(  # noqa: PLR0913  # what it holds, where from, where to, and on what
    recipe: Recipe,
    *,
    data: Path,
    runs: Path,
    out: Path,
    crops: int,
    scales: Sequence[float] = SCALES,
    device: torch.device = CPU,
) -> Path:
    """Fill the folder `out`, going on where it stopped; returns it.

    The crops are those a run of the recipe would cut, of labelled and unlabelled parts. Each is
    taught by every teacher of the recipe (the best checkpoints below `runs`), who sees it and its
    mirror image at each of the `scales`: a scale costs its square, twice.
    Raises ConfigError where the recipe has no teacher; DataError where the run of one is missing,
    `out` holds another bank, or the disk is full.
    """
    if not recipe.teachers:
        raise ConfigError("a bank holds lessons: choose a recipe that has teachers")
    if crops < 1:
        raise ConfigError(f"a bank of {crops} crops is none: ask for one or more")
    teachers = _teachers(recipe, runs, device)
    checksums = {role: _checksum(teacher, runs) for role, teacher in recipe.teachers.items()}
    facts = {"crops": crops, "seed": recipe.seed, "scales": list(scales), "shard": SHARD}
    _claim(out, {"order": _order(recipe), "checksums": checksums, **facts})
    missing = [shard for shard in _shards(crops, SHARD) if not _path(out, shard).exists()]
    if missing:
        stride = next(iter(teachers.values())).spec.stride
        maker = CropMaker.of(dataclasses.replace(recipe, batch=SHARD), data=data, stride=stride)
        with progress(f"teaching {out.name}", total=crops) as tick:
            for shard in missing:
                before = shard * SHARD
                stored = _stored(maker.batch(shard), only=min(SHARD, crops - before))
                stored |= _lessons(stored, teachers, scales, before=before, tick=tick)
                write_tensors(_path(out, shard), stored)
    return out


class BankCrops:
    """Serves the crops of a bank, in place of a CropMaker.

    The batch of a step is a pure function of the recipe's seed and of the step: crops at random,
    every other one mirrored with its heads and maps. Lessons go by the roles of the teachers.
    """

    def __init__(self, recipe: Recipe, *, folder: Path, stride: int) -> None:
        """Raises DataError where the bank is missing, unfinished, broken, or another recipe's."""
        self._recipe, self._stride = recipe, stride
        facts = _facts(folder)
        ours, theirs = _order(recipe), facts["order"]
        odd = [name for name in ORDER if ours[name] not in (theirs[name], {})]
        if odd:
            raise DataError(
                f"{folder} is the bank of a recipe with another {' and '.join(odd)}: "
                f"draw from another bank, or make one"
            )
        self._crops = int(facts["crops"])
        self._per_shard = int(facts["shard"])
        shards = _shards(self._crops, self._per_shard)
        self._shards = [_read(_path(folder, shard)) for shard in shards]

    def batch(self, step: int) -> Crops:
        rng = np.random.default_rng((self._recipe.seed, step))
        which_N = rng.integers(self._crops, size=self._recipe.batch)
        mirrored_N = rng.random(self._recipe.batch) < 0.5
        drawn = [
            self._draw(int(which), mirrored=bool(mirrored))
            for which, mirrored in zip(which_N, mirrored_N, strict=True)
        ]
        taught = {role: torch.stack([maps[role] for _, maps in drawn]) for role in drawn[0][1]}
        crops = stacked([crop for crop, _ in drawn], self._stride)
        return dataclasses.replace(crops, taught_N1hw=taught)

    def _draw(self, which: int, *, mirrored: bool) -> tuple[Crop, dict[str, Tensor]]:
        shard, index = self._shards[which // self._per_shard], which % self._per_shard
        image_HW3 = _decoded(_slice(shard, "frames", index))
        points_P2 = _slice(shard, "points", index).numpy().copy()
        maps = {
            name.removeprefix("taught/"): maps_N1hw[index].float()
            for name, maps_N1hw in shard.items()
            if name.startswith("taught/")
        }
        if mirrored:
            points_P2[:, 0] = image_HW3.shape[1] - points_P2[:, 0]
            image_HW3 = np.ascontiguousarray(image_HW3[:, ::-1])
            maps = {role: map_1hw.flip(2) for role, map_1hw in maps.items()}
        return Crop(image_HW3, points_P2, bool(shard["labelled"][index])), maps

    def ahead(self, steps: range) -> Iterator[Crops]:
        return ahead(self.batch, steps)


def _teachers(recipe: Recipe, runs: Path, device: torch.device) -> dict[str, CountingNet]:
    torch.manual_seed(recipe.seed)  # those of smoke runs are random
    teachers = teachers_of(dataclasses.replace(recipe, bank=""), runs)
    for teacher in teachers.values():
        teacher.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch has it
    return teachers


def _stored(crops: Crops, *, only: int) -> dict[str, Tensor]:
    """The first `only` crops. Crop i has the bytes `frames[frames_at[i] : frames_at[i + 1]]`."""
    jpegs = [_encoded(frame_HW3.numpy()) for frame_HW3 in crops.frames_NHW3[:only]]
    points = list(crops.points[:only])
    return {
        "frames": torch.from_numpy(np.concatenate(jpegs)),
        "frames_at": _starts([len(jpeg) for jpeg in jpegs]),
        "points": torch.cat(points),
        "points_at": _starts([len(points_P2) for points_P2 in points]),
        "labelled": crops.labelled_N[:only].clone(),
    }


def _lessons(
    stored: dict[str, Tensor],
    teachers: Mapping[str, CountingNet],
    scales: Sequence[float],
    *,
    before: int,
    tick: Tick,
) -> dict[str, Tensor]:
    """The maps `taught/ROLE` of each crop."""
    total = len(stored["labelled"])
    taught: dict[str, list[Tensor]] = {f"taught/{role}": [] for role in teachers}
    for start in range(0, total, SHOWN):
        end = min(start + SHOWN, total)
        shown = [_decoded(_slice(stored, "frames", index)) for index in range(start, end)]
        frames_NHW3 = torch.from_numpy(np.stack(shown))
        for role, teacher in teachers.items():
            device = next(teacher.parameters()).device
            frames_N3HW = Pixels(teacher).normalise(frames_NHW3).to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16_pays(device)):
                density_N1hw = looked_over(teacher, frames_N3HW, scales=scales)
            taught[f"taught/{role}"].append(density_N1hw.half().cpu())
        tick(before + end)
    return {name: torch.cat(maps) for name, maps in taught.items()}


def _encoded(image_HW3: Image) -> Image:
    bgr_HW3 = cv2.cvtColor(image_HW3, cv2.COLOR_RGB2BGR)
    return np.asarray(cv2.imencode(".jpg", bgr_HW3, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])


def _decoded(jpeg: Tensor) -> Image:
    bgr_HW3 = cv2.imdecode(jpeg.numpy(), cv2.IMREAD_COLOR)
    return cv2.cvtColor(bgr_HW3, cv2.COLOR_BGR2RGB)  # type: ignore[arg-type,return-value]


def _starts(lengths: list[int]) -> Tensor:
    return torch.tensor([0, *lengths]).cumsum(0)


def _slice(shard: dict[str, Tensor], name: str, index: int) -> Tensor:
    start, end = shard[f"{name}_at"][index : index + 2].tolist()
    return shard[name][start:end]


def _shards(crops: int, size: int) -> range:
    return range(-(-crops // size))


def _path(folder: Path, shard: int) -> Path:
    return folder / f"shard-{shard:05}.safetensors"


def _checksum(teacher: Teacher, runs: Path) -> str:
    """SHA-256 of the checkpoint that teaches."""
    return "fresh" if teacher.fresh else sha256(runs / teacher.run / "best.safetensors")


def _order(recipe: Recipe) -> dict[str, Any]:
    """As it looks after a way through JSON."""
    whole = json.loads(json.dumps(dataclasses.asdict(recipe), default=str))
    return {name: whole[name] for name in ORDER}


def _claim(out: Path, facts: dict[str, Any]) -> None:
    """A folder belongs to one bank: going on with other teachers would mix their lessons."""
    path = out / "bank.json"
    if not path.exists():
        write_text(folder_at(out) / path.name, json.dumps(facts, indent=2) + "\n")
        return
    found = _facts(out)
    odd = sorted(name for name in facts if found.get(name) != facts[name])
    if odd:
        raise DataError(
            f"{out} holds a bank of another {' and '.join(odd)}: choose another --out, or remove it"
        )


def _facts(folder: Path) -> dict[str, Any]:
    path = described(folder)
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        facts = None
    if not isinstance(facts, dict) or not {"order", "crops", "shard"} <= facts.keys():
        raise DataError(f"{path} does not describe a bank: remove {folder}")
    return facts


def _read(path: Path) -> dict[str, Tensor]:
    """Mapped, not copied: crops are read from the disk when they are drawn."""
    if not path.is_file():
        raise DataError(
            f"{path} is missing: the bank is not finished, `throng-distill bank` goes on with it"
        )
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"{path} is broken ({error}): remove it, `throng-distill bank` makes it again"
        ) from error
