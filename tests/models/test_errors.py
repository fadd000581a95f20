import re

import pytest

from models import errors
from models.errors import Overloaded, PictureError, ThrongError

ALL = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, ThrongError)]


def test_the_tree_at_the_top_of_the_file_names_every_error() -> None:
    drawn = re.findall(r"^[│├└─ ]*([A-Z]\w+)  ", errors.__doc__ or "", flags=re.MULTILINE)
    assert sorted(drawn) == sorted(error.__name__ for error in ALL)


def test_the_tree_is_indented_as_the_classes_inherit() -> None:
    path: list[str] = []
    for indent, name in re.findall(
        r"^([│├└─ ]*)([A-Z]\w+)  ", errors.__doc__ or "", flags=re.MULTILINE
    ):
        depth = len(indent) // 4
        path = [*path[:depth], name]
        mother = getattr(errors, name).__mro__[1].__name__
        assert mother == (path[depth - 1] if depth else "Exception")


@pytest.mark.parametrize("error", ALL, ids=lambda error: error.__name__)
def test_an_error_ends_a_command_with_one_two_or_three(error: type[ThrongError]) -> None:
    assert error.exit_code in (1, 2, 3)


def test_a_refused_picture_carries_a_code_and_a_status() -> None:
    error = PictureError("too-large", "40 MB came, 20 MB is the most", status=413)
    assert (error.code, error.status, error.exit_code) == ("too-large", 413, 2)
    assert str(error) == "40 MB came, 20 MB is the most"


def test_overload_says_when_to_try_again() -> None:
    assert Overloaded("the queue is full", retry_after_s=3).retry_after_s == 3
