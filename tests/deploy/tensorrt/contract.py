"""What our code touches of TensorRT, read from its syntax tree, and whether bindings have it.

In a module, a name annotated "trt.X" is an X: its members, whether they are set, and the keywords
of each call are taken down; so is every `trt.X.Y`, and what subclasses of `trt.X` override.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Touch:
    """`path` is below the package, as in `Builder.create_network`."""

    path: str
    use: str  # "has", "sets", "calls", "overrides"
    words: tuple[str, ...] = ()  # keywords of a call
    positional: int = 0


def touches(source: str) -> set[Touch]:
    found: set[Touch] = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            found |= set(_in_function(node))
    return found


def as_questions(some: set[Touch]) -> list[dict[str, Any]]:
    return [asdict(one) for one in sorted(some, key=str)]


def _in_function(function: ast.FunctionDef) -> Iterator[Touch]:
    kinds = {"trt": ""}
    for argument in function.args.args:
        if isinstance(argument.annotation, ast.Constant):
            match = re.match(r"trt\.(\w+)", str(argument.annotation.value))
            if match:
                kinds[argument.arg] = match[1]
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute):
            path = _path(node, kinds)
            if path:
                yield Touch(path, "sets" if isinstance(node.ctx, ast.Store) else "has")
        elif isinstance(node, ast.Call):
            path = _path(node.func, kinds)
            words = tuple(word.arg or "**" for word in node.keywords)
            if path:
                yield Touch(path, "calls", words, len(node.args))
        elif isinstance(node, ast.ClassDef):
            yield from _in_class(node, kinds)


def _in_class(node: ast.ClassDef, kinds: dict[str, str]) -> Iterator[Touch]:
    for base in filter(None, (_path(base, kinds) for base in node.bases)):
        for method in (one for one in node.body if isinstance(one, ast.FunctionDef)):
            if not method.name.startswith("_"):
                yield Touch(f"{base}.{method.name}", "overrides", (), len(method.args.args))


def _path(node: ast.AST, kinds: dict[str, str]) -> str:
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in kinds:
        return ""
    return ".".join(filter(None, [kinds[node.id], *reversed(names)]))


def wrong(package: Any, touch: dict[str, Any]) -> str | None:
    """What does not hold of a touch in these bindings, or None."""
    path, use = touch["path"], touch["use"]
    owner = thing = package
    for name in path.split("."):
        owner = thing
        thing = getattr(owner, name, None)
        if thing is None:
            return f"{path} is missing"
    if use == "sets" and getattr(thing, "fset", None) is None:
        return f"{path} cannot be set"
    if use not in ("calls", "overrides"):
        return None
    if isinstance(thing, type):
        thing = vars(thing).get("__init__")
    forms = parameters(thing.__doc__ or "")
    if use == "overrides":
        fits = any(len(names) == touch["positional"] for names in forms)
    else:
        fits = any(_accepts(names, touch) for names in forms)
    return None if fits else f"{path} takes {forms}, not {touch['positional']} {touch['words']}"


def _accepts(names: list[str], touch: dict[str, Any]) -> bool:
    unbound = touch["path"].endswith("__init__")
    free = names[touch["positional"] + (0 if unbound or names[:1] != ["self"] else 1) :]
    return touch["positional"] <= len(names) and set(touch["words"]) <= set(free)


def parameters(doc: str) -> list[list[str]]:
    """Parameter names of each form that a pybind11 docstring lists."""
    forms = re.findall(r"^(?:\d+\. )?\w+\((self: .*)\) -> ", doc, flags=re.MULTILINE)
    return [[part.split(":")[0].strip() for part in _split(form)] for form in forms]


def _split(form: str) -> list[str]:
    parts, depth = [""], 0
    for letter in form:
        depth += (letter in "([{<") - (letter in ")]}>")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts
