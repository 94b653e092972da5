"""Parsing of YAML files to plain data, with the position of every part."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from gansweep.errors import SweepFileError, UserError

MAX_BYTES = 1_000_000
# Our deepest key is at level 5; for thousands of levels ruamel takes quadratic time and exhausts the stack.
MAX_DEPTH = 20
SWEEP_FILE = "sweep file"
Path_ = tuple[str | int, ...]


@dataclass
class Document:
    """Plain data with the position of each part.

    Attributes:
        data: The data.
        values: Path → position of the value: "file:line:column", or "--set KEY".
        keys: Path → position of the key.
    """

    data: Any
    values: dict[Path_, str] = field(default_factory=dict)
    keys: dict[Path_, str] = field(default_factory=dict)

    def where(self, path: Path_, *, key: bool = False) -> str:
        """Return the position of a value, or of its nearest parent in the file.

        Args:
            path: Path of the value.
            key: Whether to return the position of the value's key instead, if the file has it.
        """
        if key and path in self.keys:
            return self.keys[path]
        while path and path not in self.values:
            path = path[:-1]
        return self.values[path]

    def problem(self, path: Path_, message: str, *, key: bool = False) -> str:
        """Return a message of one line about a path: its position (see `where`), its dotted key, and the problem."""
        return f"{self.where(path, key=key)}: {dotted(path)}: {message}" if path else (f"{self.where(path)}: {message}")


def read(path: Path, what: str = SWEEP_FILE) -> str:
    """Return the text of a settings file.

    Raises:
        UserError: The file is missing, not text, or larger than 1 MB.
    """
    try:
        with path.open("rb") as file:  # read only once: the content of a pipe is consumed
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise UserError(f"{path}: larger than 1 MB; is this a {what}?")
        return content.decode("utf-8")
    except FileNotFoundError:
        remedy = f"; `gansweep init {path}` creates one" if what == SWEEP_FILE else ""
        raise UserError(f"{path}: no such file{remedy}") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder; name a {what} in it") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def parse(text: str, name: str, what: str = SWEEP_FILE) -> Document:
    """Parse YAML 1.2 text of a settings file.

    Args:
        text: The text.
        name: Name of the file in positions and messages.
        what: Kind of file in messages.

    Raises:
        SweepFileError: The text is not valid YAML, not a mapping, or contains aliases, tags or duplicate keys.
    """
    try:
        _refuse_aliases_and_depth(text, name)
        node = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise SweepFileError([f"{name}{place}: not valid YAML: {error.problem or error.context}"]) from None
    except (YAMLError, ValueError) as error:
        raise SweepFileError([f"{name}: not valid YAML: {str(error).splitlines()[0]}"]) from None
    document = Document(None, {(): f"{name}:1:1"})
    problems: list[str] = []
    if node is not None:
        document.data = _plain(node, (), name, document, problems)
    if not isinstance(document.data, dict) and not problems:
        see = "`gansweep init`" if what == SWEEP_FILE else "`gansweep diagnose --help`"
        problems.append(f"{name}:1:1: a {what} is a mapping of keys; see {see}")
    if problems:
        raise SweepFileError(problems)
    return document


def dotted(path: Path_) -> str:
    """Return the dotted form of a path: ('search', 'over', 'a.b', 2) → 'search.over.a.b[2]'."""
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).lstrip(".")


def _refuse_aliases_and_depth(text: str, name: str) -> None:
    """Raise SweepFileError if the text contains aliases or anchors, or is nested deeper than MAX_DEPTH.

    This is checked before data are built, since a small text with aliases can expand to huge or endless data.
    """
    depth = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        mark = event.start_mark
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
            raise SweepFileError(
                [f"{name}:{mark.line + 1}:{mark.column + 1}: aliases are not supported; repeat the value"]
            )
        if depth > MAX_DEPTH:
            raise SweepFileError([f"{name}:{mark.line + 1}:{mark.column + 1}: nested deeper than {MAX_DEPTH} levels"])


def _plain(node: Node, path: Path_, name: str, document: Document, problems: list[str]) -> Any:
    mark = node.start_mark
    place = f"{name}:{mark.line + 1}:{mark.column + 1}"
    document.values[path] = place
    tag = str(node.tag).removeprefix("tag:yaml.org,2002:")
    if tag not in _TAGS.get(type(node), _SCALARS):
        problems.append(f"{place}: {dotted(path)}: the tag {node.tag} is not supported")
        return None
    if isinstance(node, MappingNode):
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            at = key_node.start_mark
            key_place = f"{name}:{at.line + 1}:{at.column + 1}"
            key = str(key_node.value)
            if key in data:
                problems.append(f"{key_place}: {dotted((*path, key))}: given twice")
            document.keys[(*path, key)] = key_place
            data[key] = _plain(value_node, (*path, key), name, document, problems)
        return data
    if isinstance(node, SequenceNode):
        return [_plain(n, (*path, i), name, document, problems) for i, n in enumerate(node.value)]
    assert isinstance(node, ScalarNode)
    try:
        return _SCALARS[tag](node.value)
    except ValueError:
        problems.append(f"{place}: {dotted(path)}: {node.value!r} is not a valid number")
        return None


def _integer(text: str) -> int:
    text = text.replace("_", "").lower()
    number = int(text, 0 if text.lstrip("+-").startswith(("0x", "0o", "0b")) else 10)
    str(number)  # a ValueError if it has more digits than can be printed
    return number


def _float(text: str) -> float:
    return float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))


_TAGS: dict[type[Node], set[str]] = {MappingNode: {"map"}, SequenceNode: {"seq"}}
_SCALARS: dict[str, Any] = {
    "int": _integer,
    "float": _float,
    "bool": lambda text: text.lower() == "true",
    "null": lambda text: None,
    "str": str,
    "timestamp": str,
}
