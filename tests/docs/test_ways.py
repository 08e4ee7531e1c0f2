"""The ways through the package that the README names lead past functions that are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_file_of_the_ways_defines_what_is_named_beside_it():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    ways = text.partition("Two ways through it")[2].partition("\n## ")[0]
    stops = re.findall(r"`([\w/]+/\w+\.py)`((?:\s*(?:,|and)?\s*`\w+`)+)", ways)
    assert len(stops) == 9
    for path, names in stops:
        source = (ROOT / "lightning_advinterp" / path).read_text(encoding="utf-8")
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"(?:def|class) {name}\b", source), f"{path} has no {name}"
