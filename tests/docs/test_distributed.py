"""The commands of docs/distributed.md parse as they stand, and their numbers of processes agree."""

import re
import shlex
from pathlib import Path

import pytest
from parsers import ParserOnly
from torch.distributed.run import get_args_parser

REPOSITORY = Path(__file__).parents[2]
BLOCKS = re.findall(r"```bash\n(.*?)```", (REPOSITORY / "docs" / "distributed.md").read_text(), re.DOTALL)
COMMANDS = {
    name: next(block for block in BLOCKS if mark in block)
    for name, mark in (
        ("ddp", "trainer/ddp.yaml"),
        ("cpu", "--trainer.accelerator cpu"),
        ("torchrun", "torchrun"),
        ("slurm", "#SBATCH"),
    )
}


@pytest.fixture(scope="module")
def parser():
    return ParserOnly.parse(["--data", "ConceptWorldDataModule"]).parser


def parsed(name, parser, monkeypatch):
    """What the page's command says after ``train.py``, and what stands before it."""
    monkeypatch.chdir(REPOSITORY)
    (line,) = (line for line in COMMANDS[name].splitlines() if "train.py" in line)
    words = shlex.split(line)
    at = words.index("train.py")
    return parser.parse_args(words[at + 1 :]), words[:at]


def test_every_block_is_one_of_the_commands():
    trains = [block for block in BLOCKS if "train.py" in block]
    assert sorted(trains) == sorted(COMMANDS.values())


def test_one_machine(parser, monkeypatch):
    config, before = parsed("ddp", parser, monkeypatch)
    assert before == ["python"]
    assert (config.trainer.accelerator, config.trainer.devices, config.trainer.strategy) == ("gpu", -1, "ddp")


def test_two_processes_on_a_cpu(parser, monkeypatch):
    config, before = parsed("cpu", parser, monkeypatch)
    assert before == ["python"]
    assert (config.trainer.accelerator, int(config.trainer.devices), config.trainer.strategy) == ("cpu", 2, "ddp")
    assert config.compare_with_standard is False


def test_torchrun(parser, monkeypatch):
    config, before = parsed("torchrun", parser, monkeypatch)
    assert before[0] == "torchrun"
    launched = get_args_parser().parse_args([*before[1:], "train.py"])
    assert int(launched.nnodes) == config.trainer.num_nodes == 2
    assert int(launched.nproc_per_node) == int(config.trainer.devices) == 4
    assert config.trainer.strategy == "ddp"


def test_slurm(parser, monkeypatch):
    config, before = parsed("slurm", parser, monkeypatch)
    assert before == ["srun", "python"]
    options = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)$", COMMANDS["slurm"], re.MULTILINE))
    assert int(options["nodes"]) == config.trainer.num_nodes == 2
    assert int(options["ntasks-per-node"]) == int(config.trainer.devices) == 4
    assert options["gres"] == f"gpu:{config.trainer.devices}"
    assert config.trainer.strategy == "ddp"
