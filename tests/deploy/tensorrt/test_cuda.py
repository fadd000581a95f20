"""Our pycuda calls: held to pycuda's own sources, and run over a pycuda whose driver is a stub."""

import ast
import json
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from deploy.engines.tensorrt import cuda
from tests.deploy.tensorrt.bindings import CACHE, ROOT, download

PYCUDA = "2026.1"  # as in .ci/pycuda
DRIVER = ("drv", "self._drv")
KIND = re.compile(r"(dict\[int, )?drv\.(\w+)")


@pytest.fixture(scope="module")
def binding() -> str:
    """The source of pycuda's binding, without comments."""
    archive = CACHE / f"pycuda-{PYCUDA}.tar.gz"
    if not archive.is_file():
        CACHE.mkdir(parents=True, exist_ok=True)
        download(f"pycuda=={PYCUDA}", CACHE, source=True)
    with tarfile.open(archive) as files:
        name = next(one for one in files.getnames() if one.endswith("/wrap_cudadrv.cpp"))
        source = files.extractfile(name)
        assert source is not None
        return re.sub(r"//.*", "", source.read().decode())


class Walk:
    """What code asks of pycuda: functions, classes and their members, with the keywords of calls.

    A kind is known of what is annotated `drv.X`, of what lies in a dict of these, and of what
    `drv.X(...)` makes.
    """

    def __init__(self, source: str) -> None:
        tree = ast.parse(source)
        self.asked: dict[str, set[str]] = {}
        self._one: dict[str, str] = {}
        self._many: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.AnnAssign):
                match = KIND.match(ast.unparse(node.annotation))
                if match:
                    kinds = self._many if match[1] else self._one
                    kinds[ast.unparse(node.target)] = match[2]
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and (made := self._kind(node.value)):
                self._one[ast.unparse(node.targets[0])] = made
        for node in ast.walk(tree):
            self._note(node)

    def _note(self, node: ast.AST) -> None:
        called = node.func if isinstance(node, ast.Call) else node
        words = {str(word.arg) for word in node.keywords} if isinstance(node, ast.Call) else set()
        if isinstance(called, ast.Attribute):
            kind = self._kind(called.value)
            path = _of_driver(called) or (kind and f"{kind}.{called.attr}")
            if path:
                self.asked.setdefault(path, set()).update(words)
        elif isinstance(node, ast.Call) and ast.unparse(called) == "int":
            kind = self._kind(node.args[0])
            if kind:
                self.asked.setdefault(f"{kind}.__int__", set())

    def _kind(self, node: ast.expr) -> str | None:
        if isinstance(node, ast.Subscript):
            return self._many.get(ast.unparse(node.value))
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and node.func.attr == "pop":
                return self._many.get(ast.unparse(node.func.value))
            made = _of_driver(node.func) or ""
            return made if made[:1].isupper() else None
        return self._one.get(ast.unparse(node)) or _of_driver(node)


def _of_driver(node: ast.expr) -> str | None:
    here = isinstance(node, ast.Attribute) and ast.unparse(node.value) in DRIVER
    return node.attr if isinstance(node, ast.Attribute) and here else None


def asked() -> dict[str, set[str]]:
    return Walk(Path(cuda.__file__).read_text("utf-8")).asked


def keywords(binding: str, path: str) -> set[str] | None:
    """The keywords that pycuda's source has for a function, class or member; None: it has none."""
    owner, _, name = path.rpartition(".")
    if owner:
        start = re.search(rf'"{owner}"', binding)
        block = re.split("class_<|enum_<", binding[start.end() :])[0] if start else ""
        exact = rf'DEF_SIMPLE_METHOD\({name}\)|"{name}"[^;]*?(?:;|\n\s*\.)'
    else:
        block = binding
        made = rf'py::def\("{name}"|\("{name}", py::(?:init|no_init)|"{name}", py::no_init'
        simple = rf'DEF_SIMPLE_FUNCTION\({name}\)|DECLARE_EXC\({name},|enum_<\w+>\("{name}"\)'
        exact = rf"(?:{made})[^;]*?(?:;|\n\s*\.)|{simple}"
    found = re.search(exact, block)
    return set(re.findall(r'"(\w+)"', found[0])) - {name} if found else None


def test_the_walk_sees_what_the_code_asks() -> None:
    assert {
        "mem_alloc": set(),
        "memcpy_htod_async": {"dest", "src", "stream"},
        "MemoryError": set(),
        "Device.retain_primary_context": set(),
        "Context.pop": set(),
        "Context.push": set(),
        "Context.detach": set(),
        "Stream": {"flags"},
        "Stream.handle": set(),
        "Event.record": {"stream"},
        "event_flags.BLOCKING_SYNC": set(),
        "DeviceAllocation.free": set(),
        "DeviceAllocation.__int__": set(),
        "PagelockedHostAllocation.free": set(),
    }.items() <= asked().items()
    assert len(asked()) > 25


@pytest.mark.slow  # downloads the source once
def test_all_that_we_ask_is_in_pycudas_source_with_our_keywords(binding: str) -> None:
    for path, words in asked().items():
        has = keywords(binding, path)
        assert has is not None, path
        assert words <= has, path


@pytest.mark.slow
def test_what_is_not_in_pycudas_source_is_found(binding: str) -> None:
    walk = Walk("""
def old(drv):
    event: drv.Event = drv.Event(blocking=True)
    event.record(on=1)
    event.wait()
    drv.Stream(flags=drv.stream_flags.NON_BLOCKING).begin_capture()
    drv.memcpy_htod_async(dst=1)
""")
    for path, words in walk.asked.items():
        has = keywords(binding, path)
        wrong = has is None or not words <= has
        assert wrong == (path not in ("Stream",)), path


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n"
         "GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n", "550.54.15 (CUDA 12040)"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\n",
         "570.86.15 (CUDA 12040)"),
        ("something else", "CUDA 12040"),
        (None, "CUDA 12040"),
    ],
)  # fmt: skip
def test_the_driver_is_known_by_its_own_version_where_it_tells_it(
    tmp_path: Path, text: str | None, version: str
) -> None:
    if text is not None:
        (tmp_path / "version").write_text(text, encoding="utf-8")
    assert cuda.driver(12040, tmp_path / "version") == version


@pytest.mark.slow
def test_over_a_real_pycuda_all_that_a_lane_holds_is_freed_in_its_thread(tmp_path: Path) -> None:
    wheel = next(CACHE.glob(f"pycuda-{PYCUDA}-cp3{sys.version_info.minor}-*.whl"), None)
    if wheel is None:
        pytest.skip(f"no built pycuda in {CACHE}: .ci/pycuda builds it")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    stub = compile_driver(next((tmp_path / "pycuda").glob("_driver*.so")), tmp_path)
    ran = subprocess.run(
        [sys.executable, "-m", "tests.deploy.tensorrt.over_pycuda", tmp_path, stub],
        cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    said = json.loads(ran.stdout.splitlines()[-1])
    assert said == {
        "no_gpu": [None, "it needs an NVIDIA GPU 3, and there are 1"],
        "card": ["Stub GPU", "9.0"],
        "copies": [[0, 1, 2, 3], True],
        "errors": ["OutOfMemory", "room"],
        "engine": [True, 0],
        "left": 0,
        "lost": 0,
        "sticky": ["Lost", "Lost"],
        "depth": 0,
    }
    assert "leaked" not in ran.stderr
    assert "out-of-thread" not in ran.stderr


def compile_driver(binding: Path, into: Path) -> Path:
    source = Path(__file__).with_name("driver.c").read_text("utf-8")
    listed = subprocess.run(
        ["nm", "-D", "--undefined-only", binding], check=True, capture_output=True, text=True
    ).stdout
    wanted = set(re.findall(r"\bU (cu[A-Z]\w*)$", listed, flags=re.MULTILINE))
    missing = sorted(wanted - set(re.findall(r"^int (cu\w+)\(", source, flags=re.MULTILINE)))
    source += "".join(f"int {name}() {{ return OK; }}\n" for name in missing)
    path = into / "libcuda.so.1"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-w", "-Wl,-soname,libcuda.so.1", "-x", "c", "-", "-o", path],
        input=source, text=True, check=True, timeout=60,
    )  # fmt: skip
    return path
