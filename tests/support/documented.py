"""Commands and examples of README, CONTRIBUTING.md and docs/."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from gansweep.cli.main import COMMANDS, cli

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")
GANSWEEP = re.compile(rf"(?<!from )\bgansweep((?: (?:{'|'.join(COMMANDS)})\b| --)[^`]*)")
ABBREVIATED = re.compile(rf"(?:{'|'.join(COMMANDS)}) --.*")  # `stop --all`
SCRIPT = re.compile(r"\bpython (-m analysis\.[\w.]+|tests/\S+\.py|-m pytest)([^`]*)")


@dataclass(frozen=True)
class Command:
    """A command of a page.

    Attributes:
        words: The words after `gansweep`, or after `python`.
        inline: Whether it is in running text, where a command may be named without its arguments.
    """

    page: str
    words: tuple[str, ...]
    inline: bool

    def __str__(self) -> str:
        return f"{self.page}: {shlex.join(self.words)}"

    @property
    def is_mention(self) -> bool:
        """Whether text names a command with options only, or by itself."""
        return self.inline and all(word.startswith("-") for word in self.words[1:])


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a page in a language."""
    return blocks_of(page.read_text(), language)


def blocks_of(text: str, language: str) -> list[str]:
    """Return the fenced blocks of a text in a language."""
    return [block for name, block in FENCED.findall(text) if name == language]


def section(page: Path, title: str) -> str:
    """Return the section of a page with a heading of the second level."""
    (found,) = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", page.read_text(), re.MULTILINE | re.DOTALL)
    return str(found)


def commands() -> list[Command]:
    """Return the `gansweep` commands in order of README, CONTRIBUTING.md and docs/."""
    return [Command(page.name, words, inline) for page in PAGES for words, inline in commands_of(page.read_text())]


def scripts() -> list[Command]:
    """Return the commands that run a script, a module of analysis/ or the tests."""
    found = []
    for page in PAGES:
        for line, inline in _code(page.read_text()):
            for script, rest in SCRIPT.findall(line):
                found.append(Command(page.name, (*script.split(), *_words(rest)), inline))
    return found


def problem(command: Command) -> str | None:
    """Return why the command line refuses a command; None for a correct one. Files need not exist."""
    if not command.words or command.words[0].startswith("-"):
        found: click.Command = cli
        rest = list(command.words)
    else:
        name, *rest = command.words
        found = command_of(name)
    context = click.Context(found, info_name=found.name)
    if command.is_mention:
        known = {option for one in found.get_params(context) for option in (*one.opts, *one.secondary_opts)}
        unknown = [word for word in rest if word not in known]
        return f"no such option: {unknown[0]}" if unknown else None
    try:
        values, more, _ = found.make_parser(context).parse_args(rest)
        if more and found is not cli:
            return f"unexpected argument: {more[0]}"
        for one in found.get_params(context):
            value = values.get(str(one.name))
            if one.required and not isinstance(value, str | list | tuple):
                return f"missing argument or option: {one.name}"
            if not isinstance(one.type, click.Path | click.File):
                one.type_cast_value(context, value)
    except click.UsageError as error:
        return error.format_message()
    return None


def command_of(name: str) -> click.Command:
    """Return a command of the command line."""
    found = cli.get_command(click.Context(cli), name)
    assert found is not None
    return found


def commands_of(text: str) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Yield the words of each `gansweep` command of a text, and whether it is in running text."""
    for line, inline in _code(text):
        for rest in GANSWEEP.findall(line):
            yield _words(rest), inline
        if inline and ABBREVIATED.fullmatch(line):
            yield _words(line), inline


def _code(text: str) -> Iterator[tuple[str, bool]]:
    """Yield each line of fenced blocks, and each inline code, in order of the text, with whether it is inline."""
    end = 0
    for block in FENCED.finditer(text):
        yield from ((code, True) for code in INLINE.findall(text[end : block.start()]))
        if block[1] != "python":
            yield from ((line, False) for line in block[2].splitlines())
        end = block.end()
    yield from ((code, True) for code in INLINE.findall(text[end:]))


def _words(rest: str) -> tuple[str, ...]:
    """Return the words of one command up to the end of its part of a pipe, without the signs of optional ones."""
    rest = re.sub(r"<\([^)]*\)", "FILE", rest.replace("\n", " "))
    rest = re.split(r"\s(?:\\?\||&&|>|2>)\s", rest)[0]
    words = shlex.split(rest, comments=True)
    return tuple(word.strip("[]").rstrip("…") for word in words if word.strip("[]…"))
