from pathlib import Path

import pytest

from distill.lists import HERE, ids
from distill.lists.make import nested, write
from models.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "sha", "shb"), [("sha-shb-5", 12, 16), ("sha-shb-10", 23, 32), ("sha-shb-40", 94, 128)]
)
def test_a_list_names_its_percentage_of_either_part(name: str, sha: int, shb: int) -> None:
    assert sum(picture.startswith("sha_") for picture in ids(name)) == sha
    assert sum(picture.startswith("shb_") for picture in ids(name)) == shb
    assert len(ids(name)) == sha + shb


def test_smaller_lists_lie_in_larger_ones() -> None:
    assert ids("sha-shb-5") < ids("sha-shb-10") < ids("sha-shb-40")


@pytest.mark.parametrize("name", ["sha-shb-5", "sha-shb-10", "sha-shb-40"])
def test_a_list_says_how_it_was_made(name: str) -> None:
    text = (HERE / f"{name}.txt").read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert "distill.lists.make" in text


def test_every_list_spans_the_range_of_counts() -> None:
    counts = {f"id{number:03}": number for number in range(200)}
    for percent, (chosen,) in nested([counts], (5, 10, 40), seed=3).items():
        values = sorted(counts[name] for name in chosen)
        size = 2 * percent
        slices = [value * size // 200 for value in values]
        assert len(values) == size
        assert all(abs(got - wanted) <= 1 for got, wanted in zip(slices, range(size), strict=True))


def test_the_seed_decides() -> None:
    counts = [{f"id{number:03}": number * 7 % 31 for number in range(100)}]
    assert nested(counts, (5, 10), seed=0) == nested(counts, (5, 10), seed=0)
    assert nested(counts, (5, 10), seed=0) != nested(counts, (5, 10), seed=1)


def test_a_name_without_a_list_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no 'moon'; it has .*sha-shb-40"):
        ids("moon")


@pytest.mark.data
def test_the_lists_are_made_again_as_they_are(data: Path, tmp_path: Path) -> None:
    write(data, tmp_path)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (HERE / path.name).read_bytes()
    assert len(list(tmp_path.iterdir())) == 3
