"""Imports run down the house and never up, and Lightning stays in its rooms."""

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "lightning_advinterp"
FLOORS = [
    {"ablation"},
    {"cli", "adversarial", "bases", "export"},  # the last three are doors: python -m lightning_advinterp.export
    {"training"},
    {"datamodules"},
    {"analyses", "objectives"},
    {"attacks", "report"},
    {"explanations"},
    {"units"},
    {"metrics", "data"},
    {"networks", "taxonomy"},
    {"core"},
]
WITH_LIGHTNING = {"cli", "training", "datamodules"}
TEST_ORACLES = {"captum", "foolbox", "skimage", "zennit", "quantus", "torchattacks"}
FILES = sorted(PACKAGE.rglob("*.py"))


def room(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def floor(name):
    return next(number for number, rooms in enumerate(FLOORS) if name in rooms)


def imported_modules(path):
    """Every module that a file imports, wherever it does so."""
    modules = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            modules.append(node.module)
    return modules


def test_imports_run_down():
    upward = []
    for path in FILES:
        if room(path) == "__init__":  # the package's root exports what a notebook needs
            continue
        for module in imported_modules(path):
            parts = module.split(".")
            if parts[0] != "lightning_advinterp" or len(parts) == 1 or parts[1] == room(path):
                continue
            # Rooms of one floor may be neighbours; a file of a lower floor never looks up.
            if floor(parts[1]) < floor(room(path)):
                upward.append(f"{path.relative_to(PACKAGE)} imports {module}")
    assert not upward


def test_foreign_packages_stay_in_their_rooms():
    wrong = []
    for path in FILES:
        packages = {module.split(".")[0] for module in imported_modules(path)}
        banned = {"lightning"} | TEST_ORACLES
        if room(path) not in WITH_LIGHTNING:
            banned |= {"pytorch_lightning", "lightning_fabric"}
        wrong += [f"{path.relative_to(PACKAGE)} imports {package}" for package in packages & banned]
    assert not wrong


def test_no_file_does_two_jobs():
    for path in FILES:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 300, path


def test_the_house_has_few_rooms():
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert len(rooms - {"__init__"}) <= 22


LEAN = """
import sys
import lightning_advinterp.cli.evaluation.command
assert "torch._dynamo" not in sys.modules and "torch._dynamo.utils" not in sys.modules, "an evaluation needs none"
import torch
import torchvision.ops.roi_align
supported = sys.modules["torchvision.ops.roi_align"].is_compile_supported("cpu")
import torch._dynamo.utils
assert supported == torch._dynamo.utils.is_compile_supported("cpu")
assert torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1)).item() == 2
"""


def test_evaluation_does_without_the_compiler_until_it_is_asked_for():
    subprocess.run([sys.executable, "-W", "error", "-c", LEAN], check=True)
