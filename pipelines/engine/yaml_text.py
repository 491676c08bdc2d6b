"""YAML from outside: values, as many as a recipe may have, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml

from sppnet.errors import SppError
from sppnet.outside import parsing

BYTES = 1 << 20
"""Most bytes of a text: the largest recipe has some thousand, and a megabyte takes seconds."""
_VALUES = 100_000
"""Most values of a text, each as often as an alias stands for it."""
_DEPTH = 50
_NUMBER = 100
"""Most characters of a number."""
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def parse_yaml(text: str | bytes, error: Callable[[str, str], SppError]) -> Any:
    """Read a text's values.

    Args:
        text: One document, UTF-8 if it is bytes.
        error: Makes the error from where in the text something is wrong (` at line 3`, or nothing), and what.

    Raises:
        SppError: What `error` made: the text is longer than `BYTES` or no YAML, gives a key twice, is nested too deep,
            or its aliases stand for too much.
    """
    size = len(text)
    if size > BYTES:
        raise error("", f"{size} bytes, at most {BYTES} are read")
    with parsing(lambda why: error("", f"not YAML ({why})")):
        try:
            loader = _StrictLoader(text)
            node = loader.get_single_node()
            if node is None:
                return None
            _check(node)
            return loader.construct_document(node)
        except yaml.YAMLError as found:
            where = getattr(found, "problem_mark", None)
            problem = getattr(found, "problem", None) or "no character of YAML's"
            raise error(f" at line {where.line + 1}" if where else "", f"not YAML ({problem})") from found


def _check(node: yaml.Node) -> None:
    """Count the values, aliases followed, before any of them is made: a few lines can stand for billions."""
    count = 0
    left = [(node, 0)]
    while left:
        one, depth = left.pop()
        count += 1
        if count > _VALUES:
            raise yaml.constructor.ConstructorError(None, None, f"more than {_VALUES} values", node.start_mark)
        if depth > _DEPTH:
            problem = f"nested deeper than {_DEPTH} levels"
            raise yaml.constructor.ConstructorError(None, None, problem, one.start_mark)
        if isinstance(one, yaml.ScalarNode):
            if one.tag in _NUMBERS and len(one.value) > _NUMBER:
                raise yaml.constructor.ConstructorError(None, None, "a number of absurd length", one.start_mark)
        elif isinstance(one, yaml.MappingNode):
            left += [(part, depth + 1) for pair in one.value for part in pair]
        else:
            left += [(part, depth + 1) for part in one.value]


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that is given twice, where YAML's loader would quietly take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """See `yaml.SafeLoader`."""
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"'{key.value}' is given twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)
