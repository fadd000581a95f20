"""What the machine is, where Linux says it in files."""

import subprocess
from pathlib import Path

import pytest

from models import machine
from models.machine import commit_here, cores, int8_is_exact


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Control groups in which nothing has a quota; this process is in /service/throng."""
    (tmp_path / "mine").write_text("4:memory:/\n0::/service/throng\n", encoding="utf-8")
    (tmp_path / "groups/service/throng").mkdir(parents=True)
    monkeypatch.setattr(machine, "MINE", tmp_path / "mine")
    monkeypatch.setattr(machine, "GROUPS", tmp_path / "groups")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(16))
    return tmp_path / "groups"


def test_without_a_quota_every_allowed_core_is_there(groups: Path) -> None:
    (groups / "service/cpu.max").write_text("max 100000\n", encoding="utf-8")
    assert cores() == 16


@pytest.mark.parametrize(
    ("where", "quota", "there"),
    [
        ("service/throng", "200000 100000", 2),
        ("service", "250000 100000", 3),
        (".", "50000 100000", 1),
        (".", "9900000 100000", 16),
    ],
)
def test_a_quota_of_the_group_or_of_one_above_it_bounds_the_cores(
    groups: Path, where: str, quota: str, there: int
) -> None:
    (groups / where / "cpu.max").write_text(quota, encoding="utf-8")
    assert cores() == there


def test_without_control_groups_affinity_alone_counts(
    groups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "MINE", groups / "missing")
    assert cores() == 16


@pytest.mark.parametrize(
    ("flags", "kind", "exact"),
    [
        ("sse4_2 avx2", "x86_64", False),
        ("avx2 avx512f avx512bw", "x86_64", False),
        ("avx2 avx_vnni", "x86_64", True),
        ("avx512f avx512_vnni amx_tile amx_int8", "x86_64", True),
        ("", "aarch64", True),
    ],
)
def test_int8_is_exact_where_products_are_added_up_in_32_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, kind: str, exact: bool
) -> None:
    (tmp_path / "cpuinfo").write_text(f"model name\t: A\nflags\t\t: {flags}\n\n" * 2, "utf-8")
    monkeypatch.setattr(machine, "CPU", tmp_path / "cpuinfo")
    monkeypatch.setattr("platform.machine", lambda: kind)
    assert int8_is_exact() == exact


def test_the_commit_of_another_project_around_an_installation_is_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path))
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "theirs"], check=True)
    monkeypatch.setattr(machine, "__file__", str(tmp_path / "machine.py"))
    (tmp_path / "machine.py").touch()
    assert commit_here() == "unknown"
    subprocess.run([*git, "add", "machine.py"], check=True)
    assert commit_here().endswith("-dirty")
