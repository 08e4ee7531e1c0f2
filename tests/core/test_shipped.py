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


def test_a_shipped_ablation_finds_the_configurations_that_it_names(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["ablation", "--config", "ablation/concept_world", "--list"])
    assert "--arm standard --seed 0" in capsys.readouterr().out


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """A folder with the wheel and the source distribution of this checkout, and the copy that they were built from."""
    folder = tmp_path_factory.mktemp("dist")
    source = folder / "source"
    ignored = shutil.ignore_patterns(".git", "runs", "*.egg-info", "__pycache__", "build", ".*_cache", "evaluation*")
    shutil.copytree(ROOT, source, ignore=ignored)
    build = "from setuptools import build_meta as b; import sys; to = sys.argv[1]; b.build_wheel(to); b.build_sdist(to)"
    subprocess.run([sys.executable, "-c", build, str(folder)], cwd=source, check=True, capture_output=True)
    return folder, source


def checked(folder, source, *flags):
    command = [sys.executable, str(ROOT / ".ci" / "check_package.py"), str(folder), "--root", str(source), *flags]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.slow
def test_the_packages_are_complete_and_a_fault_is_named(packages):
    folder, source = packages
    done = checked(folder, source)
    assert done.returncode == 0, done.stderr
    assert "the tag is v9.9, the version" in checked(folder, source, "--tag", "v9.9").stderr
    further = source / "configs" / "not_packed.yaml"
    further.write_text("{}")
    missing = checked(folder, source)
    further.unlink()
    assert missing.returncode == 1
    assert missing.stderr.count("not_packed.yaml") == 2  # in the wheel and in the source distribution


@pytest.mark.slow
def test_the_wheel_alone_runs_the_quick_start(packages, tmp_path):
    (wheel,) = packages[0].glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    work = tmp_path / "work"
    work.mkdir()
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    script = "import lightning_advinterp.core.shipped as s; print(s.configuration('quickstart')); "
    script += "from lightning_advinterp.cli.door import main; main()"
    flags = ["train", "--config", "quickstart", "--trainer.fast_dev_run", "1", "--compare_with_standard", "false"]
    flags += [f"--data.init_args.{split}_size={size}" for split, size in (("train", 64), ("val", 12), ("test", 12))]
    command = [sys.executable, "-c", script, *flags]
    done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    shipped = tmp_path / "site" / "lightning_advinterp" / "configs" / "quickstart.yaml"
    assert done.stdout.splitlines()[0] == str(shipped)
