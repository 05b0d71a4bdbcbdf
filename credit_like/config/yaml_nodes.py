"""YAML text -> plain data that remembers its lines. Nothing in a YAML can import, construct or execute anything.

The dialect is the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/, section 10.3), so ``1e-3`` is a number
and ``on``, ``off``, ``yes``, ``no`` are text: a switch is ``true`` or ``false``. On top of it a configuration may
not use duplicate keys, aliases (a few lines of them expand to gigabytes) or tags beyond the plain types.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from credit_like.config.problems import KeyPath, Place, Problem, config_error, show

MAX_BYTES = 1_000_000  # a configuration is a page or two; beyond this somebody named a log by mistake
MAX_DEPTH = 32  # sections in sections; keeps a hostile file from exhausting the stack

_TAG = "tag:yaml.org,2002:"
_SWITCH = {"true": True, "false": False}
_PLAIN_TAGS = {_TAG + name for name in ("null", "bool", "int", "float", "str", "seq", "map")}


class _RefusedError(yaml.MarkedYAMLError):
    """Good YAML, but not good in a configuration."""


class _Loader(yaml.SafeLoader):
    """PyYAML's composer with YAML 1.2 scalars; its constructors, which make objects, are never called."""

    # Empty, so that add_implicit_resolver fills this class's own table and not that of PyYAML.
    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.get_event()  # type: ignore[no-untyped-call]
            rule = f"aliases are refused: write the value out instead of *{event.anchor}"
            raise _RefusedError(problem=rule, problem_mark=event.start_mark)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            rule = f"more than {MAX_DEPTH} sections or lists inside each other"
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise _RefusedError(problem=rule, problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


_SCALARS = (
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)\Z", "tTfF"),
    ("int", r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z", "-+.0123456789"),
    ("float", r"(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z", "-+."),
    ("null", r"(?:~|null|Null|NULL|)\Z", ["~", "n", "N", ""]),
)


def add_core_scalars(cls: Any) -> None:
    """Teach a PyYAML loader or dumper class the plain scalars of YAML 1.2: what is a number, a switch, a null."""
    for name, pattern, first in _SCALARS:
        cls.add_implicit_resolver(_TAG + name, re.compile(pattern), list(first))


add_core_scalars(_Loader)


def holds(value: Any, part: str | int) -> bool:
    """Whether ``part`` is a key of the section ``value``, or a position in the list ``value``."""
    return part in value if isinstance(value, dict) else isinstance(value, list) and part in range(len(value))


@dataclass
class Document:
    """A configuration before it meets its schema.

    ``data`` is plain (dict with text keys, list, str, int, float, bool, None); ``places`` says for each key path
    where it was written; ``problems`` collects what is wrong so far, to be reported with what the schema finds.
    """

    source: str
    data: dict[str, Any] = field(default_factory=dict)
    places: dict[KeyPath, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def get(self, *path: str | int) -> Any:
        """The value at ``path``, None where there is none: for looking at a job before its schema is known."""
        value: Any = self.data
        for part in path:
            if not holds(value, part):
                return None
            value = value[part]
        return value

    def place(self, path: KeyPath) -> Place:
        """Where ``path`` was written; for a path that is not there, where the nearest section around it was."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.places:
                return self.places[path[:length]]
        return Place(self.source)


def parse_document(text: str, source: str) -> Document:
    """Parse a whole file; ``source`` is its name in messages.

    Duplicate keys and refused tags are left in ``problems``, so that one report can show them together with what
    the schema finds.

    Raises:
        ConfigError: the text is not YAML, uses an alias, is empty, or is not a section of keys.
    """
    document = Document(source)
    reader = _Reader(document, source, numbered=True)
    try:
        node = reader.compose(text)
    except _NotYamlError as error:
        raise config_error([error.problem]) from None
    if node is None:
        raise config_error([Problem(Place(source), (), "the file holds no settings")])
    document.data = reader.plain(node, ())
    if not isinstance(document.data, dict):
        rule = f"expected a section of keys (name: value), received {show(document.data)}"
        raise config_error([Problem(reader.place(node), (), rule)])
    return document


def parse_value(text: str, source: str, path: KeyPath, document: Document) -> Any:
    """Parse the value of an override for ``path`` by the rules of a file; its places and problems go to ``document``.

    Text that is not YAML becomes a problem too, and its value None.
    """
    reader = _Reader(document, source, numbered=False)
    document.places[path] = Place(source)
    try:
        node = reader.compose(text)
    except _NotYamlError as error:
        document.problems.append(replace(error.problem, path=path))
        return None
    return None if node is None else reader.plain(node, path)


class _NotYamlError(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class _Reader:
    """Turns one text into plain data, and notes places and problems in the document."""

    def __init__(self, document: Document, source: str, numbered: bool) -> None:
        self.document = document
        self.source = source
        self.numbered = numbered

    def compose(self, text: str) -> yaml.Node | None:
        try:
            return _Loader(text).get_single_node()
        except _RefusedError as error:
            line, rule = _line(error), str(error.problem)
        except yaml.MarkedYAMLError as error:
            reasons = [reason for reason in (error.context, error.problem) if reason]
            line, rule = _line(error), f"not valid YAML: {', '.join(reasons)}"
        except yaml.YAMLError as error:  # a character that no YAML may hold: a position in the text, but no line
            line, rule = 0, f"not valid YAML: {str(error).splitlines()[0]}"
        raise _NotYamlError(Problem(Place(self.source, line if self.numbered else 0), (), rule))

    def place(self, node: yaml.Node) -> Place:
        return Place(self.source, node.start_mark.line + 1 if self.numbered else 0)

    def plain(self, node: yaml.Node, path: KeyPath) -> Any:
        self.document.places.setdefault(path, self.place(node))
        if node.tag not in _PLAIN_TAGS:
            tag = node.tag.replace(_TAG, "!!")
            self._problem(node, path, f"the tag {tag} is refused: a configuration holds plain values only")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._section(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.plain(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _section(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        section: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(key_node, path, "a key must be plain text, not a list or a section")
                continue
            key = str(key_node.value)
            below = (*path, key)
            if key in section:
                self._problem(key_node, below, f"given twice (first: {self.document.places[below]})")
                continue
            self.document.places[below] = self.place(key_node)
            section[key] = self.plain(value_node, below)
        return section

    def _scalar(self, node: yaml.Node, path: KeyPath) -> Any:
        text = str(node.value)
        try:
            match node.tag.removeprefix(_TAG):
                case "null":
                    return None
                case "bool":
                    return _SWITCH[text.lower()]
                case "int":
                    return int(text, 10 if text.lstrip("-+").isdecimal() else 0)
                case "float":
                    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
                case "str":
                    return text
        except (KeyError, ValueError):
            pass  # an explicit tag on something else, "!!int many": reported below, with what no case matches
        self._problem(node, path, f"{text!r} is not what its tag {node.tag.replace(_TAG, '!!')} says")
        return None

    def _problem(self, node: yaml.Node, path: KeyPath, rule: str) -> None:
        self.document.problems.append(Problem(self.place(node), path, rule))


def _line(error: yaml.MarkedYAMLError) -> int:
    return error.problem_mark.line + 1 if error.problem_mark else 0
