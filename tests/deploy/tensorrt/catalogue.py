"""Run by `bindings.ask`: every function of calls.py, with arguments as our code gives them, through
the argument conversion of these bindings. What comes back means nothing: the library is a stub.
"""

import threading
from collections.abc import Callable
from typing import Any

from deploy.engines.tensorrt import callbacks, calls
from tests.deploy.tensorrt.bindings import answer

Call = tuple[str, tuple[Any, ...]]

CAST = "Unable to cast Python instance"  # a conversion that the binding does by hand


def catalogue(made: dict[str, Any]) -> list[Call]:
    builder, config, context, engine = (
        made[name] for name in ("builder", "config", "context", "engine")
    )
    recorder, monitor = made["recorder"], made["monitor"]
    nhw3 = (1, 64, 64, 3)
    return [
        ("version", ()),
        ("builder", (made["logger"],)),
        ("set_builder_threads", (builder, 2)),
        ("strongly_typed", ()),
        ("network", (builder, calls.strongly_typed())),
        ("parser", (made["network"], made["logger"])),
        ("parse", (made["parser"], b"onnx")),
        ("parse_error_count", (made["parser"],)),
        ("parse_error", (made["parser"], 0)),
        ("error_text", (made["error"],)),
        ("error_node", (made["error"],)),
        ("error_operator", (made["error"],)),
        ("config", (builder,)),
        ("limit_workspace", (config, 2 << 30)),
        ("set_effort", (config, 3)),
        ("keep_to_one_stream", (config,)),
        ("forbid_tf32", (config,)),
        ("profile", (builder,)),
        ("set_range", (made["profile"], "frames", nhw3, nhw3, nhw3)),
        ("add_profile", (config, made["profile"])),
        ("timing_cache", (config, b"")),
        ("attach_timing_cache", (config, made["cache"])),
        ("attached_timing_cache", (config,)),
        ("serialize_timing_cache", (made["cache"],)),
        ("watch", (config, monitor)),
        ("build", (builder, made["network"], config)),
        ("runtime", (made["logger"],)),
        ("deserialize", (made["runtime"], b"plan")),
        ("tensor_count", (engine,)),
        ("tensor_name", (engine, 0)),
        ("is_input", (engine, "frames")),
        ("is_uint8", (engine, "frames")),
        ("is_float32", (engine, "density")),
        ("profile_count", (engine,)),
        ("profile_range", (engine, "frames", 0)),
        ("context", (engine,)),
        ("record_context", (context, recorder)),
        ("choose_profile", (context, 1, 140_000_000_000_000)),
        ("set_input_shape", (context, "frames", nhw3)),
        ("unresolved", (context,)),
        ("tensor_shape", (context, "density")),
        ("set_address", (context, "frames", 140_000_000_000_000)),
        ("execute", (context, 140_000_000_000_000)),
    ]


WRONG: dict[str, Callable[[dict[str, Any]], object]] = {
    "a workspace that is no integer": lambda made: calls.limit_workspace(made["config"], 1e9),  # type: ignore[arg-type]
    "an address as text": lambda made: calls.set_address(made["context"], "frames", "1"),  # type: ignore[arg-type]
    "a shape of fractions": lambda made: calls.set_input_shape(made["context"], "f", (0.5,)),  # type: ignore[arg-type]
    "a call by position name": lambda made: made["context"].execute_async_v3(stream=1),
    "a plan as a path": lambda made: calls.deserialize(made["runtime"], "plan"),  # type: ignore[arg-type]
    "a call that is gone": lambda made: made["context"].execute_async_v2(
        bindings=[], stream_handle=1
    ),
}


def work(leave_out: list[str]) -> dict[str, Any]:
    import tensorrt

    logger = callbacks.logger()
    made: dict[str, Any] = {"logger": logger, "recorder": callbacks.recorder()}
    made["monitor"] = callbacks.monitor(lambda _done, _note: None, threading.Event())
    made["builder"] = calls.builder(logger)
    made["network"] = calls.network(made["builder"], calls.strongly_typed())
    made["parser"] = calls.parser(made["network"], logger)
    made["error"] = calls.parse_error(made["parser"], 0)
    made["config"] = calls.config(made["builder"])
    made["profile"] = calls.profile(made["builder"])
    made["cache"] = calls.timing_cache(made["config"], b"")
    made["runtime"] = calls.runtime(logger)
    made["engine"] = calls.deserialize(made["runtime"], b"plan")
    made["context"] = calls.context(made["engine"])
    kinds = {name: type(one).__name__ for name, one in made.items()}
    outcomes = {
        name: _outcome(name, arguments)
        for name, arguments in catalogue(made)
        if name not in leave_out
    }
    return {
        "version": tensorrt.__version__,
        "kinds": kinds,
        "outcomes": outcomes,
        "accepted": [what for what, call in WRONG.items() if not _raises(call, made)],
        "flags": calls.strongly_typed(),
    }


def _outcome(name: str, arguments: tuple[Any, ...]) -> str:
    """ "refused" where the arguments were; "raised" where TensorRT's answer was an error."""
    try:
        got = getattr(calls, name)(*arguments)
    except (TypeError, AttributeError) as error:
        return f"refused: {error}"
    except RuntimeError as error:
        return f"refused: {error}" if CAST in str(error) else f"raised: {error}"
    except (ValueError, MemoryError, OverflowError) as error:
        return f"meaningless: {type(error).__name__}"
    return repr(got) if isinstance(got, int | str | None) else "an object"


def _raises(call: Callable[[dict[str, Any]], object], made: dict[str, Any]) -> bool:
    try:
        call(made)
    except (TypeError, AttributeError):
        return True
    except RuntimeError as error:
        return CAST in str(error)
    return False


if __name__ == "__main__":
    answer(work)
