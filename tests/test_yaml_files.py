"""YAML that is small to read and endless to walk through, and configurations that are no text: one line, at once."""

import time

import pytest
import yaml

from lightning_advinterp.ablation.command import main as ablate
from lightning_advinterp.cli import evaluate, fit
from lightning_advinterp.cli.adversarial import main as make_set
from lightning_advinterp.core.yaml_files import check_extent, load_yaml
from lightning_advinterp.data.broden.recipe import read_recipe

ALIASES = "x0: &x0 [1, 1]\n" + "".join(f"x{n}: &x{n} [*x{n - 1}, *x{n - 1}]\n" for n in range(1, 40))
MERGES = "x0: &x0 {a: 1}\n" + "".join(f"x{n}: &x{n} {{<<: [*x{n - 1}, *x{n - 1}]}}\n" for n in range(1, 40))
FILES = {
    "aliases": (ALIASES.encode() + b"limit: *x39\n", "unfold to more than 100,000 entries"),
    "merges": (MERGES.encode() + b"limit: *x39\n", "unfold to more than 100,000 entries"),
    "itself": (b"limit: &a [*a]\n", "the alias *a stands within what it names"),
    "depth": (b"limit: " + b"[" * 900 + b"]" * 900, "nested more than 50 levels deep"),
    "keys": (b"".join(b" " * n + b"limit:\n" for n in range(60)), "nested more than 50 levels deep"),
    "Latin-1": ("# caf\xe9\nlimit: 3\n".encode("latin-1"), "line 1: byte 0xe9 is not UTF-8; save it as UTF-8"),
    "UTF-16": ("limit: 3\n".encode("utf-16"), "is not UTF-8; save it as UTF-8"),
    "no YAML": (b"limit: [1,\n", "is not YAML in line 2, column 1: "),
}
READERS = {
    "evaluate": lambda path: evaluate(["--config", path]),
    "train": lambda path: fit(["--config", path]),
    "set": lambda path: make_set([f"--config={path}"]),
    "ablation": lambda path: ablate(["--config", path]),
    "arm": lambda path: ablate(["--base", f"[{path}]", "--arms", f"{{a: {path}}}"]),
    "data": lambda path: fit(["--data", path]),
    "recipe": read_recipe,
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("reader", READERS)
def test_every_reader_says_it_at_once(tmp_path, capsys, reader, kind):
    content, message = FILES[kind]
    path = tmp_path / "some.yaml"
    path.write_bytes(content)
    started = time.monotonic()
    with pytest.raises((SystemExit, ValueError)) as stop:
        READERS[reader](str(path))
    text = str(stop.value) if stop.type is not SystemExit else capsys.readouterr().err
    assert time.monotonic() - started < 5
    if reader != "data":  # the parser tries a file there as a class's name too
        assert message in text
        assert "some.yaml" in text
    if stop.type is SystemExit:
        assert stop.value.code == 2
        assert sum(line.startswith("error:") for line in text.splitlines()) == 1
        assert len(text) < 2000


def test_a_value_on_the_command_line_too(capsys):
    with pytest.raises(SystemExit):
        evaluate(["--attack", "&a [*a]"])
    assert len(capsys.readouterr().err) < 3000


def test_aliases_of_a_usual_size_pass(tmp_path):
    text = "a: &a {b: [1, 2, {c: d}]}\ne: [*a, *a]\nf: {<<: *a, g: 1}\n" + "h: [" + "1, " * 20_000 + "1]\n"
    check_extent(text)
    (tmp_path / "some.yaml").write_text("\ufeff" + text, encoding="utf-8")
    assert load_yaml(tmp_path / "some.yaml") == yaml.safe_load(text)
