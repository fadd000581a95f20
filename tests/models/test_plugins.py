import sys
from pathlib import Path

import pytest

from models.errors import ConfigError
from models.plugins import Plugins


@pytest.fixture
def animals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plugins[str]:
    """A package with two plug-ins, one of which lacks its framework, and a shared part."""
    package = tmp_path / "animals_for_test"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "_paws.py").touch()
    (package / "grey_cat.py").write_text("sound = 'miaow'\n")
    (package / "rare_bird.py").write_text("import a_framework_nobody_has\n")
    monkeypatch.syspath_prepend(tmp_path)
    return Plugins("animals_for_test", "sound")


def test_a_file_is_a_plug_in_by_its_name_and_a_shared_part_is_none(animals: Plugins[str]) -> None:
    assert animals.names() == ["grey-cat", "rare-bird"]
    assert animals["grey-cat"] == "miaow"


def test_listing_imports_no_plug_in(animals: Plugins[str]) -> None:
    animals.names()
    assert not any(name.startswith("animals_for_test.rare") for name in sys.modules)


def test_a_missing_framework_hurts_only_who_asks_for_it(animals: Plugins[str]) -> None:
    with pytest.raises(ImportError, match="a_framework_nobody_has"):
        animals["rare-bird"]


@pytest.mark.parametrize("name", ["dog", "_paws", "grey_cat", "../grey-cat", ""])
def test_an_unknown_name_is_refused_with_the_names_there_are(
    animals: Plugins[str], name: str
) -> None:
    with pytest.raises(ConfigError, match="it has grey-cat, rare-bird"):
        animals[name]
