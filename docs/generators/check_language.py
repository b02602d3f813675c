"""Reports words and sentences that a hurried reader has to read twice, in pages, docstrings, comments and messages.

docs/generators/language.toml lists the words with what to write instead. Headings, tables and code do not count as
sentences.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from edge.core.cli_support import run_main
from edge.core.errors import ExpectationError

ROOT = Path(__file__).parents[2]
RULES = Path(__file__).with_name("language.toml")
_CODE = re.compile(r"`+[^`]+`+")
_TAG = re.compile(r"<(script|style)\b.*?</\1>|\{%.*?%\}|\{\{.*?\}\}|\{#.*?#\}|<[^>]*>", re.S)
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)(\{[^}]*\})?")
_FENCE = re.compile(r"^( *)```.*?^\1```", re.S | re.M)
_SENTENCE_END = re.compile(r"(?<=[.!?:;])[\"')*]*\s+(?=[A-Z(`\"*])|\n(?= +\w[\w, ]*: )")  # or the next argument
_COMMENT_OR_TEXT = re.compile(r"#|//|/\*|^\s*\*|\"[^\"]* [^\"]*\"")  # in files that are neither Python nor Markdown
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_DIRECTIVE = re.compile(r"type:|noqa|pragma|fmt:|mypy:|ruff:|!|language:")


class Prose(NamedTuple):
    """A piece of text with the line where it begins; `counted`: its sentences count for the length of a page."""

    line: int
    text: str
    counted: bool


@dataclass(frozen=True)
class Rules:
    """Compiled content of language.toml."""

    words: list[tuple[re.Pattern[str], str]]
    starts: list[tuple[re.Pattern[str], str]]
    max_average_words: float
    max_words: int

    @classmethod
    def load(cls, path: Path = RULES) -> Rules:
        """Read the rules from a TOML file."""
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return cls(
            [(re.compile(rf"\b(?:{key})\b", re.I), value) for key, value in table["words"].items()],
            [(re.compile(rf"(?:{key})\b"), value) for key, value in table["starts"].items()],
            table["max_average_words"],
            table["max_words"],
        )


def check(path: Path, rules: Rules) -> list[str]:
    """Return one line for each finding in a file, as `path:line: what is wrong`."""
    found, lengths = [], []
    for line, text, counted in prose_of(path):
        for pattern, instead in rules.words:
            for match in pattern.finditer(text):
                at = line + text.count("\n", 0, match.start())
                found.append(f"{path}:{at}: '{match[0]}': write {instead}")
        offset = 0
        for sentence in _SENTENCE_END.split(text):
            at = line + text.count("\n", 0, max(text.find(sentence, offset), 0))
            offset = max(text.find(sentence, offset), 0)
            words = len(re.findall(r"[^\W_][\w'.,-]*", sentence))
            if not sentence.rstrip().endswith("?"):
                for pattern, instead in rules.starts:
                    if counted and words > 3 and (begins := pattern.match(sentence)):
                        found.append(f"{path}:{at}: sentence begins with '{begins[0]}': {instead}")
            if counted and words:
                lengths.append(words)
                if words > rules.max_words:
                    found.append(f"{path}:{at}: a sentence of {words} words: at most {rules.max_words}")
    average = sum(lengths) / max(len(lengths), 1)
    if path.suffix == ".md" and average > rules.max_average_words:
        found.append(f"{path}:1: {average:.1f} words a sentence on average: at most {rules.max_average_words}")
    return found


def prose_of(path: Path) -> Iterator[Prose]:
    """Yield the pieces of a file that people read."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        yield from _python(text)
    elif path.suffix in {".md", ".template"}:
        yield from _markdown(text)
    elif path.suffix == ".html":
        yield Prose(1, _blank(_TAG, text), False)
    else:
        for number, line in enumerate(text.splitlines(), 1):
            if path.suffix == ".txt" or _COMMENT_OR_TEXT.search(line):
                yield Prose(number, line, False)


def _blank(pattern: re.Pattern[str], text: str, keep: str = "") -> str:
    """Replace every match by `keep` and its own line breaks, so that line numbers stay."""
    return pattern.sub(lambda match: keep + "\n" * match[0].count("\n"), text)


def _markdown(text: str) -> Iterator[Prose]:
    text = _blank(_FENCE, text)
    text = _LINK.sub(lambda match: match[1] + "\n" * (match[0].count("\n") - match[1].count("\n")), text)
    text = _blank(_CODE, _blank(_TAG, text), "code")
    block: list[str] = []
    start = 1
    for number, line in enumerate([*text.splitlines(), ""], 1):
        bare = line.strip()
        begins = re.match(r"([-*]|\d+\.) |#|\||!!!|---", bare)
        if block and (not bare or begins):
            yield Prose(start, "\n".join(block), True)
            block = []
        if bare.startswith(("|", "#", "!!!")):
            yield Prose(number, bare, False)
        elif bare:
            if not block:
                start = number
            block.append(re.sub(r"^([-*]|\d+\.) ", "", bare))


def _python(source: str) -> Iterator[Prose]:
    tree = ast.parse(source)
    docstrings: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node):
            value = node.body[0].value  # type: ignore[attr-defined]
            docstrings.add(value)
            line, example = value.lineno, " " * (value.col_offset + 2)
            for part in re.split(r"\n\s*\n", value.value):
                listing = all(each.startswith(example) for each in part.splitlines())
                yield Prose(line, _blank(_CODE, part, "code"), not listing)
                line += part.count("\n") + 2
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node not in docstrings and " " in str(node.value):
            yield Prose(node.lineno, _blank(_CODE, str(node.value), "code"), False)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and not _DIRECTIVE.match(comment := token.string.lstrip("#: ")):
            yield Prose(token.start[0], _blank(_CODE, comment, "code"), False)


def files() -> list[Path]:
    """Every file of the repository that holds prose."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    suffixes = {".md", ".py", ".html", ".txt", ".toml", ".service", ".conf", ".template", ".yml"}
    suffixes |= {".acl", ".c", ".css", ".js", ".mjs", ".sh"}
    own = {RULES, ROOT / "CHANGELOG.md"}
    return [
        path
        for path in (ROOT / name for name in listed)
        if path.suffix in suffixes and not path.is_symlink() and path not in own and "requirements" not in path.parts
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line.

    Raises:
        ExpectationError: something was found.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("paths", nargs="*", type=Path, help="files and folders (default: the whole repository)")
    given = parser.parse_args(arguments)
    places = [path.resolve() for path in given.paths]
    rules = Rules.load()
    chosen = [path for path in files() if not places or any(path.is_relative_to(place) for place in places)]
    found = [line.replace(f"{ROOT}/", "") for path in chosen for line in check(path, rules)]
    print("\n".join(found) or f"{len(chosen)} files: nothing found", file=sys.stdout)
    if found:
        raise ExpectationError(f"{len(found)} findings in {len(chosen)} files")


if __name__ == "__main__":
    run_main(main)
