"""Every TensorRT call we make, one function each: the same for TensorRT 10 and 11.

Nothing else touches the package `tensorrt`. The annotations are a contract: a test walks this
file's syntax tree and holds each class, member and parameter name against NVIDIA's own bindings,
another calls every function through their argument conversion. So: no logic, keywords where the
binding has names, and no integer in place of an enum (their numbers moved between 10 and 11).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorrt as trt

Shape = tuple[int, ...]


def version() -> str:
    import tensorrt as trt

    return str(trt.__version__)


def builder(logger: "trt.ILogger") -> "trt.Builder":
    import tensorrt as trt

    return trt.Builder(logger=logger)


def set_builder_threads(builder: "trt.Builder", threads: int) -> None:
    builder.max_threads = threads


def strongly_typed() -> int:
    """Flags that make a network take its types from the ONNX. TensorRT 11 always does."""
    import tensorrt as trt

    if not version().startswith("10."):
        return 0
    return 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def network(builder: "trt.Builder", flags: int) -> "trt.INetworkDefinition":
    return builder.create_network(flags=flags)


def parser(network: "trt.INetworkDefinition", logger: "trt.ILogger") -> "trt.OnnxParser":
    import tensorrt as trt

    return trt.OnnxParser(network=network, logger=logger)


def parse(parser: "trt.OnnxParser", model: bytes) -> bool:
    """False where the model was refused: `parse_error` says why."""
    return bool(parser.parse(model=model))


def parse_error_count(parser: "trt.OnnxParser") -> int:
    return int(parser.num_errors)


def parse_error(parser: "trt.OnnxParser", index: int) -> "trt.ParserError":
    return parser.get_error(index=index)


def error_text(error: "trt.ParserError") -> str:
    return str(error.desc())


def error_node(error: "trt.ParserError") -> str:
    return str(error.node_name())


def error_operator(error: "trt.ParserError") -> str:
    return str(error.node_operator())


def config(builder: "trt.Builder") -> "trt.IBuilderConfig":
    return builder.create_builder_config()


def limit_workspace(config: "trt.IBuilderConfig", size_bytes: int) -> None:
    import tensorrt as trt

    config.set_memory_pool_limit(pool=trt.MemoryPoolType.WORKSPACE, pool_size=size_bytes)


def set_effort(config: "trt.IBuilderConfig", level: int) -> None:
    """How long to look for fast kernels: 0 to 5, 3 is TensorRT's own choice."""
    config.builder_optimization_level = level


def keep_to_one_stream(config: "trt.IBuilderConfig") -> None:
    config.max_aux_streams = 0


def forbid_tf32(config: "trt.IBuilderConfig") -> None:
    """TF32 keeps ten bits of fp32's 23: fp32 means fp32 here."""
    import tensorrt as trt

    config.clear_flag(flag=trt.BuilderFlag.TF32)


def profile(builder: "trt.Builder") -> "trt.IOptimizationProfile":
    return builder.create_optimization_profile()


def set_range(
    profile: "trt.IOptimizationProfile", name: str, low: Shape, best: Shape, high: Shape
) -> None:
    """Raises RuntimeError where the shapes contradict each other."""
    profile.set_shape(input=name, min=low, opt=best, max=high)


def add_profile(config: "trt.IBuilderConfig", profile: "trt.IOptimizationProfile") -> int:
    """The profile's number, or -1 where it was refused."""
    return int(config.add_optimization_profile(profile=profile))


def timing_cache(config: "trt.IBuilderConfig", old: bytes) -> "trt.ITimingCache":
    return config.create_timing_cache(serialized_timing_cache=old)


def attach_timing_cache(config: "trt.IBuilderConfig", cache: "trt.ITimingCache") -> bool:
    """False where the cache is of another version or GPU."""
    return bool(config.set_timing_cache(cache=cache, ignore_mismatch=False))


def attached_timing_cache(config: "trt.IBuilderConfig") -> "trt.ITimingCache":
    return config.get_timing_cache()


def serialize_timing_cache(cache: "trt.ITimingCache") -> "trt.IHostMemory":
    return cache.serialize()


def watch(config: "trt.IBuilderConfig", monitor: "trt.IProgressMonitor") -> None:
    config.progress_monitor = monitor


def build(
    builder: "trt.Builder", network: "trt.INetworkDefinition", config: "trt.IBuilderConfig"
) -> "trt.IHostMemory | None":
    return builder.build_serialized_network(network=network, config=config)


def runtime(logger: "trt.ILogger") -> "trt.Runtime":
    import tensorrt as trt

    return trt.Runtime(logger=logger)


def deserialize(runtime: "trt.Runtime", plan: bytes) -> "trt.ICudaEngine | None":
    """None for a plan of another TensorRT, GPU class or system."""
    return runtime.deserialize_cuda_engine(serialized_engine=plan)


def tensor_count(engine: "trt.ICudaEngine") -> int:
    return int(engine.num_io_tensors)


def tensor_name(engine: "trt.ICudaEngine", index: int) -> str:
    return str(engine.get_tensor_name(index=index))


def is_input(engine: "trt.ICudaEngine", name: str) -> bool:
    import tensorrt as trt

    return bool(engine.get_tensor_mode(name=name) == trt.TensorIOMode.INPUT)


def is_uint8(engine: "trt.ICudaEngine", name: str) -> bool:
    import tensorrt as trt

    return bool(engine.get_tensor_dtype(name=name) == trt.DataType.UINT8)


def is_float32(engine: "trt.ICudaEngine", name: str) -> bool:
    import tensorrt as trt

    return bool(engine.get_tensor_dtype(name=name) == trt.DataType.FLOAT)


def profile_count(engine: "trt.ICudaEngine") -> int:
    return int(engine.num_optimization_profiles)


def profile_range(engine: "trt.ICudaEngine", name: str, index: int) -> "Sequence[trt.Dims]":
    """Least, best and largest shape. Inputs only: of an output TensorRT 11.4 raises RuntimeError,
    older ones give shapes without dimensions.
    """
    shapes: Sequence[trt.Dims] = engine.get_tensor_profile_shape(name=name, profile_index=index)
    return shapes


def context(engine: "trt.ICudaEngine") -> "trt.IExecutionContext | None":
    """None where the GPU has no memory left for it."""
    return engine.create_execution_context()


def record_context(context: "trt.IExecutionContext", recorder: "trt.IErrorRecorder") -> None:
    context.error_recorder = recorder


def choose_profile(context: "trt.IExecutionContext", index: int, stream: int) -> bool:
    """Forgets the context's shapes. The stream must be synchronised before anything else.

    A number that the engine does not have raises RuntimeError, and in 10.0 ends the process.
    """
    return bool(context.set_optimization_profile_async(profile_index=index, stream_handle=stream))


def set_input_shape(context: "trt.IExecutionContext", name: str, shape: Shape) -> bool:
    return bool(context.set_input_shape(name=name, shape=shape))


def unresolved(context: "trt.IExecutionContext") -> Sequence[str]:
    """Inputs that still lack a shape; none of ours may. Raises RuntimeError for a bad shape."""
    names: Sequence[str] = context.infer_shapes()
    return names


def tensor_shape(context: "trt.IExecutionContext", name: str) -> "trt.Dims":
    """Raises RuntimeError for a name that is none."""
    return context.get_tensor_shape(name=name)


def set_address(context: "trt.IExecutionContext", name: str, address: int) -> bool:
    """TensorRT does not keep the memory alive: its owner does."""
    return bool(context.set_tensor_address(name=name, memory=address))


def execute(context: "trt.IExecutionContext", stream: int) -> bool:
    return bool(context.execute_async_v3(stream_handle=stream))
