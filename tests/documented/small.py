"""Documented commands at small size: the table small.yaml, applied to a command's text."""

import re
import shlex
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml
from documented.pages import PAGES, ROOT, commands_of, named_command

TABLE = Path(__file__).with_name("small.yaml")


class SmallCommand(NamedTuple):
    """A documented command.

    Attributes:
        page: that documents it.
        text: as it stands there.
        words: at small size; none of a command that is not run.
        reason: why it is not run, else empty.
    """

    page: Path
    text: str
    words: tuple[str, ...]
    reason: str


@cache
def table():
    return yaml.safe_load(TABLE.read_text(encoding="utf-8"))


def smaller(text):
    """Return the words of a command at small size."""
    for row in table()["words"]:
        text = re.sub(row["of"], row["to"], text)
    words = shlex.split(text)
    named = named_command(words)
    if named is None or "--help" in words or "--print_config" in words:
        return words
    for row in table()["flags"]:
        if row["command"] == named[0] and re.search(row.get("with", ""), text):
            words += shlex.split(row["add"])
    return words


def small_commands(page):
    """Return all commands of a page."""
    commands = []
    for text in commands_of(page):
        reasons = [row["why"] for row in table()["not_run"] if re.search(row["of"], text)]
        words = () if reasons else tuple(smaller(text))
        commands.append(SmallCommand(page, text, words, reasons[0] if reasons else ""))
    return commands


def commands_before(page):
    """Return the commands that are run before a page's."""
    texts = table()["before"].get(name_of(page), [])
    return [SmallCommand(page, text, tuple(shlex.split(text)), "") for text in texts]


def all_commands():
    """Return the commands of all pages, in the order of the pages."""
    return [command for page in PAGES for command in small_commands(page)]


def name_of(page):
    return page.relative_to(ROOT).as_posix()
