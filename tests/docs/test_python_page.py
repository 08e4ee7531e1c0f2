"""docs/python.md runs as it stands, and its checkpoint holds the module's weights."""

import re
from pathlib import Path

import pytest
import torch

from lightning_advinterp import RobustClassifier

PAGE = (Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Lightning's advice to whoever runs a trainer of his own
def test_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": __name__}
    for block in BLOCKS:
        exec(compile(block, "docs/python.md", "exec"), names)
    trained, loaded = names["classifier"].state_dict(), names["loaded"].state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in trained.items())
    assert names["measured"].keys() >= {"test/acc", "test/loss"}
    with torch.no_grad():
        expected = names["loaded"].cpu().eval()(names["unlabelled"].dataset)
    torch.testing.assert_close(names["logits"], expected)
    assert [row["n"] for row in names["rows"]] == [16, 16]
    assert names["bars"].axes
    assert names["figures"].keys() == {"accuracy"}
    assert names["stored"]["accuracy"].tables == names["results"]["accuracy"].tables
    assert list(names["accuracy"]["network"]) == ["trained", "trained", "random", "random"]
    assert names["meaning"]["semantics"].tables["semantics"]
    assert (names["x_adv"] - names["x"]).abs().max() <= 4 / 255 + 1e-6


def test_a_module_needs_the_side_of_its_images():
    with pytest.raises(ValueError, match="give image_size=SIDE"):
        RobustClassifier(network=torch.nn.Flatten())
