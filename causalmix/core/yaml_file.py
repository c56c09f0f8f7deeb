"""The one way in which YAML is read: plain data, each name once, and one sentence about a file that is none."""

from pathlib import Path

import yaml

from causalmix.core.errors import DEEP, InputError, brief, refused


class _Loader(yaml.SafeLoader):  # not libyaml's, which ends the process where nesting is too deep
    """YAML's plain values; a name that stands twice, of which the last would win in silence, is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen: set = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if key.tag == "tag:yaml.org,2002:merge" or not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                line = key.start_mark.line + 1
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} a second time in line {line}")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str) -> object:
    """The value of a YAML text; ValueError where it has none."""
    try:
        return yaml.load(text, _Loader)  # a SafeLoader: it constructs no objects
    except RecursionError as error:
        raise ValueError(DEEP) from error
    except (yaml.YAMLError, TypeError) as error:  # TypeError: of a value that its tag does not fit
        raise ValueError(str(error)) from error


def read_yaml(path: str | Path, what: str) -> dict:
    """Names with values from a YAML file (JSON is YAML) that should hold ``what``; InputError where it does not."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"Expected {what} in the YAML file {path}, found no such file; correct the path.")
    with refused(f"{what} in the YAML file {path}", "correct the file", OSError, ValueError):
        found = parse_yaml(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict) and found is not None:
        raise InputError(
            f"Expected {what} as names with values in the YAML file {path}, found {brief(repr(found))}; "
            "correct the file."
        )
    return found or {}
