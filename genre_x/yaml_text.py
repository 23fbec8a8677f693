"""YAML in which a key that stands twice is a fault; PyYAML would silently keep the second alone."""

from typing import Any

import yaml
from yaml.composer import ComposerError


class _Loader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        first: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if (name := (key.tag, key.value)) in first:
                raise ComposerError(None, None, f"the key {key.value!r} stands in line {first[name]} already", key.start_mark)
            first[name] = key.start_mark.line + 1
        return node


def load_yaml(text: str) -> object:
    """The content of a YAML text, as `yaml.safe_load` gives it.

    Raises:
        YAMLError: It is not valid, or has a key twice in one mapping; see `problem` and `problem_mark`.
    """
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
