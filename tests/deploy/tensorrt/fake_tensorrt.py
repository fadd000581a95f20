"""A fake TensorRT: what a real one would answer to our builder and runner, in every state.

The net of its plans is the mean of each stride x stride block of the red channel. Addresses are
real ones of this process, so the fake also runs over pycuda on a stub of its driver. Classes,
methods and parameter names are held against NVIDIA's bindings by test_fake.py.
"""

import ctypes
import enum
import json
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from tests.deploy.tensorrt.fake import STRIDE, World


class Severity(enum.Enum):
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class ErrorCodeTRT(enum.Enum):
    FAILED_ALLOCATION, FAILED_EXECUTION = range(2)


class Fake:
    world: ClassVar[World]
    trt: ClassVar[Any]

    def _start(self, call: str, logger: Any) -> None:
        if self.world.refuses(call):
            logger.log(Severity.WARNING, "CUDA initialization\nfailure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")


class ILogger(Fake):
    Severity = Severity


class IErrorRecorder(Fake):
    pass


class IProgressMonitor(Fake):
    pass


class IOptimizationProfile(Fake):
    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:  # noqa: A002
        self.world.refuses("set_shape")
        assert all(low <= best <= high for low, best, high in zip(min, opt, max, strict=True))
        self._range = tuple(min), tuple(opt), tuple(max)


class ITimingCache(Fake):
    def serialize(self) -> bytes:
        return b"timings"


class IBuilderConfig(Fake):
    def __init__(self, builder: "Builder") -> None:
        self._builder = builder
        self._profiles: list[Any] = []
        self.builder_optimization_level = 3
        self.max_aux_streams = -1
        self.progress_monitor: Any = None

    def set_memory_pool_limit(self, pool: object, pool_size: int) -> None:
        assert isinstance(pool_size, int)

    def clear_flag(self, flag: object) -> None:
        pass

    def add_optimization_profile(self, profile: Any) -> int:
        if self.world.refuses("add_optimization_profile"):
            self._builder._fail("a profile\nof nothing")
            return -1
        self._profiles.append(profile._range)
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache:
        return self.trt.ITimingCache()  # type: ignore[no-any-return]

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        return not self.world.refuses("set_timing_cache")

    def get_timing_cache(self) -> ITimingCache:
        return self.trt.ITimingCache()  # type: ignore[no-any-return]


class ParserError(Fake):
    def desc(self) -> str:
        return "unsupported\nby fakes"

    def node_name(self) -> str:
        return "node_7"

    def node_operator(self) -> str:
        return "Einsum"


class OnnxParser(Fake):
    def __init__(self, network: Any, logger: Any) -> None:
        self.num_errors = 1

    def parse(self, model: bytes, path: str | None = None) -> bool:
        assert isinstance(model, bytes)
        return not self.world.refuses("parse")

    def get_error(self, index: int) -> ParserError:
        return self.trt.ParserError()  # type: ignore[no-any-return]


class Builder(Fake):
    def __init__(self, logger: Any) -> None:
        self._logger = logger
        self.max_threads = 1
        self.error_recorder: Any = None
        self.world.builders += 1
        self._start("Builder", logger)

    def __del__(self) -> None:
        self.world.builders -= 1

    def _fail(self, text: str) -> None:
        """Errors go to the recorder; to the log only where there is none."""
        if self.error_recorder is None:
            self._logger.log(Severity.ERROR, text)
        else:
            self.error_recorder.report_error(ErrorCodeTRT.FAILED_EXECUTION, text)

    def create_network(self, flags: int = 0) -> object:
        assert flags == (2 if self.world.version.startswith("10.") else 0)
        return object()

    def create_builder_config(self) -> IBuilderConfig:
        return self.trt.IBuilderConfig(self)  # type: ignore[no-any-return]

    def create_optimization_profile(self) -> IOptimizationProfile:
        return self.trt.IOptimizationProfile()  # type: ignore[no-any-return]

    def build_serialized_network(self, network: Any, config: IBuilderConfig) -> bytes | None:
        monitor = config.progress_monitor
        monitor.phase_start("build", None, self.world.steps)
        for step in range(self.world.steps):
            if not monitor.step_complete("build", step):
                return None
        monitor.phase_finish("build")
        if self.world.refuses("build_serialized_network"):
            self._fail("no kernel\nfound")
            return None
        self.world.built += 1
        return json.dumps({"version": self.world.version, "ranges": config._profiles}).encode()


class IExecutionContext(Fake):
    def __init__(self, ranges: Any) -> None:
        self.error_recorder: Any = None
        self._ranges = ranges
        self._profile: int | None = None
        self._shape: tuple[int, ...] | None = None
        self._resolved = False
        self._addresses: dict[str, int] = {}
        self.world.contexts += 1

    def __del__(self) -> None:
        self.world.contexts -= 1

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        assert stream_handle
        assert 0 <= profile_index < len(self._ranges)
        if self.world.refuses("set_optimization_profile_async"):
            return self._no()
        self._profile, self._shape, self._resolved = profile_index, None, False
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert name == "frames"
        assert self._profile is not None
        low, _, high = self._ranges[self._profile]
        fits = all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True))
        if not fits or self.world.refuses("set_input_shape"):
            return self._no()
        self._shape, self._resolved = tuple(shape), False
        return True

    def infer_shapes(self) -> list[str]:
        if self.world.refuses("infer_shapes"):
            return ["frames"]
        self._resolved = True
        return []

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        assert self._resolved
        assert self._shape is not None
        number, height, width, _ = self._shape
        return (-1,) * 3 if self.world.refuses("get_tensor_shape") else (
            number, height // STRIDE, width // STRIDE
        )  # fmt: skip

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return not self.world.refuses("set_tensor_address") or self._no()

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert stream_handle
        assert self._resolved
        assert self._shape is not None
        if self.world.refuses("execute_async_v3"):
            return self._no()
        queued = self.world.queued.get(stream_handle)
        shape, addresses = self._shape, dict(self._addresses)
        if queued is None:  # a stream of pycuda's
            self._run(shape, addresses)
        else:
            queued.append(lambda: self._run(shape, addresses))
        return True

    def _run(self, shape: tuple[int, ...], addresses: dict[str, int]) -> None:
        assert not self.world.alive or set(addresses.values()) <= self.world.alive.keys()
        if self.world.refuses("later"):  # started, and failed on the GPU
            self._no()
        number, height, width, _ = shape
        frames = _at(addresses["frames"], shape, np.uint8)
        size = (number, height // STRIDE, STRIDE, width // STRIDE, STRIDE)
        maps = frames[..., 0].reshape(size).astype(np.float32).mean((2, 4))
        _at(addresses["density"], maps.shape, np.float32)[:] = maps
        self.world.ran.append(shape)

    def _no(self) -> bool:
        if self.world.report:
            code, text = self.world.report
            self.error_recorder.report_error(ErrorCodeTRT[code], text)
        return False


class ICudaEngine(Fake):
    def __init__(self, ranges: Any) -> None:
        self.world.engines += 1
        self._ranges = ranges
        self.num_io_tensors = 2
        self.num_optimization_profiles = len(ranges)

    def __del__(self) -> None:
        self.world.engines -= 1

    def get_tensor_name(self, index: int) -> str:
        return ("frames", "density")[index]

    def get_tensor_mode(self, name: str) -> Any:
        return self.trt.TensorIOMode.INPUT if name == "frames" else self.trt.TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        odd = self.world.refuses("get_tensor_dtype")
        return self.trt.DataType.UINT8 if name == "frames" and not odd else self.trt.DataType.FLOAT

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> Any:
        if name != "frames":
            raise RuntimeError("not an input")
        self.world.refuses("get_tensor_profile_shape")
        return self._ranges[profile_index]

    def create_execution_context(self, strategy: Any = None) -> IExecutionContext | None:
        full = self.world.contexts == self.world.most_contexts
        if full or self.world.refuses("create_execution_context"):
            return None
        return self.trt.IExecutionContext(self._ranges)  # type: ignore[no-any-return]


class Runtime(Fake):
    def __init__(self, logger: Any) -> None:
        self._logger = logger
        self._start("Runtime", logger)

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        plan = json.loads(serialized_engine)
        if plan["version"] != self.world.version or self.world.refuses("deserialize_cuda_engine"):
            self._logger.log(Severity.ERROR, "wrong version")
            return None
        return self.trt.ICudaEngine(plan["ranges"])  # type: ignore[no-any-return]


CLASSES = (
    ILogger, IErrorRecorder, IProgressMonitor, IOptimizationProfile, ITimingCache,
    IBuilderConfig, ParserError, OnnxParser, IExecutionContext,
    ICudaEngine, Builder, Runtime,
)  # fmt: skip


def fake_tensorrt(world: World) -> ModuleType:
    """A module to stand for `tensorrt`."""
    classes: dict[str, Any] = {
        "NetworkDefinitionCreationFlag": enum.IntEnum("Flag", {"STRONGLY_TYPED": 1}),
        "MemoryPoolType": enum.Enum("MemoryPoolType", "WORKSPACE"),
        "BuilderFlag": enum.Enum("BuilderFlag", "TF32"),
        "TensorIOMode": enum.Enum("TensorIOMode", "INPUT OUTPUT"),
        "DataType": enum.Enum("DataType", "UINT8 FLOAT"),
        "ErrorCodeTRT": ErrorCodeTRT,
    }
    made = ModuleType("tensorrt")
    made.__spec__ = ModuleType  # type: ignore[assignment]  # find_spec only asks whether it is set
    for one in CLASSES:
        classes[one.__name__] = type(one.__name__, (one,), {"world": world, "trt": made})
    vars(made).update(classes, __version__=world.version)
    return made


def _at(address: int, shape: tuple[int, ...], kind: Any) -> Any:
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    memory = (ctypes.c_uint8 * size).from_address(address)
    return np.frombuffer(memory, kind).reshape(shape)
