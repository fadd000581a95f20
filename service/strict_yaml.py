"""A YAML file as a tree, strictly, with secrets filled in; no message holds a value.

`${NAME}` in any text is replaced by the environment variable NAME, `${file:PATH}` by the content of
a file, so that passwords need not stand in the YAML.
"""

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from models.errors import ConfigError

MAX_YAML_BYTES = 1_000_000
ANCHORS = (yaml.AnchorToken, yaml.AliasToken)  # a few lines of them can be gigabytes
BROKEN = (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError)
"""What the library raises: the last four where a tag such as `!!int ''` does not fit its text."""


def read_tree(path: Path) -> dict[str, Any]:
    """Raises ConfigError in one line, with the path, and the line or the key where one is known."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({type(error).__name__})") from error
    try:
        if len(text) > MAX_YAML_BYTES or any(isinstance(one, ANCHORS) for one in yaml.scan(text)):
            raise ConfigError(f"{path}: must be under 1 MB and without YAML anchors or aliases")
        tree = yaml.load(text, _Strict) or {}  # a SafeLoader
    except _Twice as error:
        again, first = (mark.line + 1 for mark in (error.problem_mark, error.context_mark) if mark)
        raise ConfigError(f"{path}, line {again}: a key that line {first} has already") from error
    except BROKEN as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{where}: not valid YAML") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: must be a mapping with sections such as `cameras:`")
    try:
        return {name: _filled_in(one, str(name)) for name, one in tree.items()}
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


class _Twice(yaml.constructor.ConstructorError):
    """A key that is there already."""


class _Strict(yaml.SafeLoader):
    """Of two entries with one key YAML's own would drop the first without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        first: dict[tuple[str, str], yaml.Mark] = {}
        for key, _ in node.value:
            said = (key.tag, str(key.value))
            if said in first:
                raise _Twice(None, first[said], None, key.start_mark)
            first[said] = key.start_mark
        return super().construct_mapping(node, deep)


def _filled_in(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return {name: _filled_in(one, f"{key}.{name}") for name, one in value.items()}
    if isinstance(value, list):
        return [_filled_in(one, f"{key}.{index}") for index, one in enumerate(value)]
    return _text(value, key) if isinstance(value, str) else value


def _text(text: str, key: str) -> str:
    """What stands for the user or the password of an address is quoted as addresses want it: a
    password may hold any character.
    """
    pieces = re.split(r"\$\{([^}]+)\}", text)
    said, names = pieces[::2], pieces[1::2]
    login = re.match(r"[^/]*://[^/?#]*@", "\0".join(said))
    in_login = login[0].count("\0") if login else 0
    for place, name in enumerate(names):
        secret = _secret(name, key)
        said[place] += quote(secret, safe="") if place < in_login else secret
    return "".join(said)


def _secret(name: str, key: str) -> str:
    if name.startswith("file:"):
        try:
            return Path(name[5:]).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise ConfigError(f"{key}: the file {name[5:]} cannot be read") from error
    if name not in os.environ:
        raise ConfigError(f"{key}: the environment variable {name} is not set")
    return os.environ[name]
