"""Configurations by name, and the wheel that holds them."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from lightning_advinterp.cli import evaluate
from lightning_advinterp.cli.door import COMMANDS, main
from lightning_advinterp.core.shipped import configuration, with_configurations

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["quickstart", "quickstart.yaml", "configs/quickstart.yaml"])
def test_a_shipped_configuration_has_a_name_wherever_the_command_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert configuration(name) == str(ROOT / "configs" / "quickstart.yaml")
    assert with_configurations(["--config", name, f"--config={name}", name])[3] == name


def test_a_file_of_the_user_comes_first_and_a_folder_is_not_left(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quickstart.yaml").write_text("{}")
    assert configuration("quickstart.yaml") == "quickstart.yaml"
    for path in ("../pyproject.toml", str(ROOT / "nothing.yaml"), "nothing"):
        assert configuration(path) == path


def test_the_door_names_its_commands(capsys):
    main(["--help"])
    listed = capsys.readouterr().out
    assert all(f"  {name} " in listed for name in COMMANDS)
    with pytest.raises(SystemExit):
        main(["trian"])
    assert "commands train, evaluate" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_how_it_is_used(name, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["advinterp"])
    with pytest.raises(SystemExit) as end:
        main([name, "--help", "all"])
    assert end.value.code == 0
    assert "usage:" in capsys.readouterr().out


def test_an_unknown_configuration_is_refused_by_its_name(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        evaluate(["--config", "quickstrat"])
    assert "quickstrat" in capsys.readouterr().err


@pytest.mark.slow
def test_the_wheel_alone_finds_its_configurations(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(
        ROOT, source, ignore=shutil.ignore_patterns(".git", "runs", "*.egg-info", "__pycache__", "tests", "build")
    )
    build = "from setuptools import build_meta; import sys; print(build_meta.build_wheel(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", build, str(tmp_path)], cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    shutil.rmtree(source)
    shipped = {path.name for path in (tmp_path / "site" / "lightning_advinterp" / "configs").rglob("*.yaml")}
    assert shipped == {path.name for path in (ROOT / "configs").rglob("*.yaml")}
    for pattern in ("**/*.css", "**/*.csv", "**/*.html", "**/*.js", "**/*.txt", "py.typed"):
        packed = {path.name for path in (tmp_path / "site" / "lightning_advinterp").glob(pattern)}
        assert packed == {path.name for path in (ROOT / "lightning_advinterp").glob(pattern)}
    place = "import lightning_advinterp.core.shipped as s; print(s.configuration('quickstart'))"
    output = subprocess.run(
        [sys.executable, "-c", place], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    assert output == str(tmp_path / "site" / "lightning_advinterp" / "configs" / "quickstart.yaml")
