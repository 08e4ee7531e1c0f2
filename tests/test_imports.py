"""Imports run down the house and never up, and Lightning stays in its rooms."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "lightning_advinterp"
FLOORS = [
    {"ablation", "adversarial", "export"},
    {"cli"},
    {
        "callbacks",
        "evaluation",
        "layer_sync",
        "monitors",
        "outcome",
        "preflight",
        "resume",
        "run_directory",
        "same_run",
        "train_keys",
    },
    {"module", "report"},
    {"objectives", "analyses", "course", "epoch_means", "optimization"},
    {"attacks"},
    {"explanations", "metrics", "data"},
    {"networks", "wordnet"},
    {"checkpoint_io", "taxonomy"},
    {
        "errors",
        "files",
        "finite",
        "inputs",
        "locks",
        "memory",
        "names",
        "plain_pickles",
        "randomness",
        "reading",
        "suggestions",
        "commands",
        "tensor_files",
        "terminal",
        "settings",
        "trust",
        "yaml_files",
    },
]
WITH_LIGHTNING = {
    *(
        "checkpoint_io",
        "cli",
        "callbacks",
        "layer_sync",
        "module",
        "monitors",
        "outcome",
        "preflight",
        "run_directory",
        "train_keys",
    ),
}
LIGHTNING_DATA = {"module_base", "image_folder_module", "cifar", "module"}
FILES = sorted(PACKAGE.rglob("*.py"))


def room(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def floor(name):
    return next(number for number, rooms in enumerate(FLOORS) if name in rooms)


def imported(path):
    """Every module that a file imports, wherever it does so."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield node.module


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_down(path):
    own = room(path)
    if own == "__init__":
        return
    for module in imported(path):
        parts = module.split(".")
        if parts[0] != "lightning_advinterp" or len(parts) == 1 or parts[1] == own:
            continue
        # Rooms of one floor may be neighbours; a file of a lower floor never looks up.
        assert floor(parts[1]) >= floor(own), f"{path.relative_to(PACKAGE)} imports {module} from a higher floor"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_lightning_stays_in_its_rooms(path):
    own = room(path)
    allowed = own in WITH_LIGHTNING or (own == "data" and path.stem in LIGHTNING_DATA)
    packages = {module.split(".")[0] for module in imported(path)}
    assert allowed or not packages & {"pytorch_lightning", "lightning_fabric"}
    assert "lightning" not in packages
    assert not packages & {"captum", "foolbox", "skimage", "zennit", "quantus", "torchattacks"}


def test_no_file_does_two_jobs():
    for path in FILES:
        assert len(path.read_text().splitlines()) <= 300, path
