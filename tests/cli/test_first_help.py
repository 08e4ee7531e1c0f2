"""``--help`` of every command: a screen, at once, of keys that exist, with the defaults that they have."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from parsers import ParserOnly

from lightning_advinterp.ablation.command import parser as ablation_parser
from lightning_advinterp.cli import export
from lightning_advinterp.cli.adversarial import parser as set_parser
from lightning_advinterp.cli.bases import parser as basis_parser
from lightning_advinterp.cli.door import COMMANDS, main, run
from lightning_advinterp.cli.evaluation.command import evaluation_parser
from lightning_advinterp.cli.first_help import FOLDER, first_help
from lightning_advinterp.report.command import parser as report_parser

ROOT = Path(__file__).parents[2]
PARSERS = {
    "ablation": ablation_parser,
    "adversarial": set_parser,
    "bases": basis_parser,
    "evaluate": evaluation_parser,
    "export": export.parser,
    "report": report_parser,
}
NO_KEYS = {"help", "KEY", "init_args", "NAME", "list", "config", "print_config"}
"""Placeholders, flags of the command line alone, and parts of a name that end in what is not a key."""


def text_of(command):
    return first_help(command, f"advinterp {command}", ["--help"])


def defaults_of(command, tmp_path):
    if command == "train":
        cli = ParserOnly.parse(["--config", str(ROOT / "configs" / "quickstart.yaml"), "--output", str(tmp_path)])
        return {action.dest: action.default for action in cli.parser._actions}
    return {action.dest: action.default for action in PARSERS[command]()._actions}


@pytest.mark.parametrize("command", COMMANDS)
def test_it_fits_a_screen_and_has_examples(command):
    text = text_of(command)
    assert len(text.splitlines()) <= 45
    assert max(map(len, text.splitlines())) <= 80
    assert f"usage: advinterp {command} " in text
    assert text.count(f"  advinterp {command} ") >= 2
    assert "help" in text or "docs/" in text


@pytest.mark.parametrize("command", [*PARSERS, "train"])
def test_its_keys_exist_and_its_defaults_are_theirs(command, tmp_path):
    text, defaults = text_of(command), defaults_of(command, tmp_path)
    keys = {key for key in re.findall(r"--([a-z][\w.]*[\w])", text) if not key.endswith(".help")}
    checked = {key for key in keys if not NO_KEYS & set(key.split(".")) and not key.startswith("attack.")}
    assert checked
    assert checked <= set(defaults), checked - set(defaults)
    shown = dict(re.findall(r"^  --(\w+)[ ,].*\((\S+)\)$", text, re.MULTILINE))
    for key, default in shown.items():
        assert str(defaults[key]) == default, key


def test_the_questions_and_configurations_that_it_names_are_there():
    questions = re.search(r"--analyses NAMES(.*?)or all", text_of("evaluate"), re.DOTALL)[1]
    from lightning_advinterp.analyses.registry import QUESTIONS

    assert set(re.findall(r"\w+", questions)) == set(QUESTIONS)
    for command in COMMANDS:
        for name in re.findall(r"--config ([a-z][\w/]+)", text_of(command)):
            assert (ROOT / "configs" / f"{name}.yaml").is_file()
        for page in re.findall(r"docs/\w+\.md", text_of(command)):
            assert (ROOT / page).is_file()


def test_a_help_flag_anywhere_is_answered_and_all_lists_every_key(capsys):
    main(["evaluate", "--network", "resnet18", "-h"])
    assert "examples:" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        run("bases", "advinterp bases", ["--help", "all"])
    everything = capsys.readouterr().out
    assert "usage: advinterp bases" in everything
    assert "--resample" in everything
    assert first_help("broden", "advinterp broden", ["check", "--help"]) is None
    assert sorted(path.stem for path in FOLDER.glob("*.txt")) == sorted(COMMANDS)


def test_it_needs_no_library():
    """What takes seconds is not imported: neither by the door nor by the scripts that lead to it."""
    heavy = ["torch", "torchvision", "timm", "pytorch_lightning", "matplotlib", "scipy", "numpy", "jsonargparse"]
    line = "import sys, lightning_advinterp.cli.door as d; d.main(['train', '--help']); "
    line += f"sys.exit(len({set(heavy)} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", line], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    for script in ("train.py", "evaluate.py"):
        usage = subprocess.run([sys.executable, script, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=20)
        assert usage.stdout.startswith(f"usage: python {script} ")


def test_a_reader_that_has_seen_enough_is_no_fault():
    command = f"{sys.executable} evaluate.py --help | head -n 1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.startswith("usage:")
    assert done.stderr == ""


def test_a_terminal_sees_at_once_that_a_command_starts(monkeypatch, capsys):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setattr(sys, "argv", ["evaluate.py"])
    for on_terminal in (True, False):
        monkeypatch.setattr(sys.stderr, "isatty", lambda on_terminal=on_terminal: on_terminal, raising=False)
        with pytest.raises(SystemExit):
            run("export", "advinterp export", [])
        lines = capsys.readouterr().err.splitlines()
        assert ("loading torch" in lines[0]) is on_terminal
