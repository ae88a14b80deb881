"""Every `slipway` command in the operator's files and pages is one that the command line takes."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from serve_app.cli.main import app
from tests.unit.cluster.test_containers import COMPOSE, KUBERNETES, REPOSITORY

PAGES = ("operations", "runbook", "backups")


def strings(document: Any) -> Iterator[list[str]]:
    """Every list of words and every single text in a document."""
    if isinstance(document, str):
        yield [document]
    elif isinstance(document, list):
        if all(isinstance(item, str) for item in document):
            yield document
        for item in document:
            yield from strings(item)
    elif isinstance(document, dict):
        for value in document.values():
            yield from strings(value)


def in_containers() -> set[tuple[str, ...]]:
    """Words of each command that compose or Kubernetes gives to a container."""
    found = set()
    for words in strings([COMPOSE, *KUBERNETES]):
        if words[0] == "slipway" and len(words) > 1:
            found.add(tuple(words))
        elif len(words) == 1:
            parts = re.split(r"&&|;|\n", words[0])
            commands = [part.strip().removeprefix("exec ") for part in parts]
            found |= {tuple(shlex.split(each)) for each in commands if each.startswith("slipway ")}
    return found


def on_pages() -> set[tuple[str, ...]]:
    """The same of each command in a block of code or between backticks of our pages."""
    found = set()
    for page in PAGES:
        text = (REPOSITORY / "docs" / f"{page}.md").read_text()
        for line in re.findall(
            r"`(slipway [^`]+)`|(?:^    |dc \S+ \S+ )(slipway .+)$", text, re.MULTILINE
        ):
            command = re.split(r"\s#|\||\s\\$|&&|;", "".join(line))[0]
            # What stands for something else than itself is not to be parsed.
            if not re.search(r"[…<\[]|\bcreate EMAIL|\.\.\.", command):
                found.add(tuple(shlex.split(command)))
    return found


def exit_code(words: tuple[str, ...]) -> int:
    """0 for words that the command line takes, 2 for a command or option that it does not have."""
    # Parsed before help is printed in place of running it.
    return CliRunner().invoke(app, [*words[1:], "--help"]).exit_code


@pytest.mark.parametrize("wrong", ["slipway backup plan /backups", "slipway backup list --nightly"])
def test_a_command_that_is_not_there_would_be_noticed(wrong: str) -> None:
    assert exit_code(tuple(wrong.split())) == 2


def test_there_are_commands_to_check() -> None:
    assert {words[1] for words in in_containers()} >= {"backup", "edge"}
    assert len(on_pages()) > 20


@pytest.mark.parametrize("words", sorted(in_containers()), ids=" ".join)
def test_a_containers_command_is_taken(words: tuple[str, ...]) -> None:
    assert exit_code(words) == 0


@pytest.mark.parametrize("words", sorted(on_pages()), ids=" ".join)
def test_a_command_on_a_page_is_taken(words: tuple[str, ...]) -> None:
    assert exit_code(words) == 0
