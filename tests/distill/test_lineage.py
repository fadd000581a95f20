from pathlib import Path
from typing import Any

import pytest
import torch

from distill.lineage import copy_weights
from models.checkpoint import save_checkpoint
from models.errors import DataError
from models.nets import NETS, CountingNet

Arguments = dict[str, Any]
WHOLE: Arguments = {"width": 8}
CUT: Arguments = {"width": 8, "blocks": (1, 2, 2)}


def _saved(folder: Path, net: CountingNet, arguments: Arguments) -> Path:
    path = folder / "earlier" / "last.safetensors"
    path.parent.mkdir()
    save_checkpoint(path, net, name="throng-m", arguments=arguments, facts={})
    return path


def test_a_student_without_a_block_starts_with_the_rest(tmp_path: Path) -> None:
    whole, cut = NETS["throng-m"](**WHOLE), NETS["throng-m"](**CUT)
    copy_weights(_saved(tmp_path, whole, WHOLE), cut)
    theirs = whole.state_dict()
    assert theirs.keys() - cut.state_dict().keys() == {
        f"trunk.layer1.1.conv{number}.{kind}" for number in (1, 2) for kind in ("weight", "bias")
    }
    assert all(torch.equal(value, theirs[name]) for name, value in cut.state_dict().items())


def test_a_student_with_a_block_more_is_another_net(tmp_path: Path) -> None:
    path = _saved(tmp_path, NETS["throng-m"](**CUT), CUT)
    with pytest.raises(DataError, match="another net than ThrongM"):
        copy_weights(path, NETS["throng-m"](**WHOLE))


def test_a_run_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"first run earlier$"):
        copy_weights(tmp_path / "earlier" / "last.safetensors", NETS["throng-m"](**CUT))
