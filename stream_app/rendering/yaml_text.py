"""YAML as people would write it: indented lists, expressions as blocks, long sentences folded."""

from typing import Any, Final

import yaml

WIDTH: Final = 110


class _Dumper(yaml.SafeDumper):
    """PyYAML's, but for how it lays out."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Indent lists below their key."""
        del indentless
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: object) -> bool:
        """Write every value where it stands."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Choose a style. Three cases: several lines, one that is too long for its place, all else."""
    if "\n" in text:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")
    if len(text) > WIDTH - 30 and " " in text:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=">")
    return dumper.represent_scalar("tag:yaml.org,2002:str", text)


_Dumper.add_representer(str, _text)


def yaml_text(comment: str, document: dict[str, Any]) -> str:
    """Return a document, keys in their order, below a comment of one or more lines."""
    comment += "\nyamllint disable rule:line-length"  # expressions and names of series are as long as they are
    body: str = yaml.dump(
        document, Dumper=_Dumper, sort_keys=False, width=WIDTH, explicit_start=True, allow_unicode=True
    )
    return "".join(f"# {line}\n" for line in comment.splitlines()) + body
