"""How a command line ends."""

import pytest

from models.commands import run_command
from models.errors import BundleError, ConfigError, SourceError, ThrongError


@pytest.mark.parametrize(
    ("error", "code"), [(ConfigError, 2), (BundleError, 3), (SourceError, 1), (ThrongError, 1)]
)
def test_an_error_of_ours_is_one_line_and_its_code(
    error: type[ThrongError], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> None:
        raise error("the reason")

    with pytest.raises(SystemExit) as ended:
        run_command(fails, "throng")
    assert ended.value.code == code
    assert capsys.readouterr().err == "throng: the reason\n"


def test_a_package_that_only_training_has_is_named_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fails() -> None:
        raise ModuleNotFoundError(name="torch.export")

    with pytest.raises(SystemExit) as ended:
        run_command(fails, "throng")
    assert ended.value.code == 1
    said = "throng: this wants the package torch.export (pip install 'throng[train]')\n"
    assert capsys.readouterr().err == said


def test_a_module_of_ours_that_is_missing_is_a_bug() -> None:
    def broken() -> None:
        raise ModuleNotFoundError(name="deploy.abacus")

    with pytest.raises(ModuleNotFoundError):
        run_command(broken, "throng")


def test_a_bug_is_not_taken_for_an_error_of_ours() -> None:
    def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_command(broken, "throng")
