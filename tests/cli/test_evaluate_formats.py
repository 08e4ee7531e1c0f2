"""The format of the passes belongs to an evaluation, and its record and page say which one was used."""

import json

from unit_evaluations import rows, run


def test_a_folder_is_of_one_format(inputs, tmp_path, capsys):
    output = tmp_path / "out"
    attack = ("--attack", "{name: pgd, type: pgd, steps: 2}")
    auto = run(inputs, output, "accuracy,predictions", *attack)
    record = json.loads((output / "results.json").read_text())
    assert record["provenance"]["passes"] == {
        "format": "channels_last",
        "folded_batch_norms": 19,
        "attacks_search_in": "float32",
        "images_are_judged_in": "float32",
    }
    assert "19 BatchNorms folded" in capsys.readouterr().out
    plain = run(inputs, output, "accuracy,predictions", *attack, "--pass_format", "plain")
    assert "(other pass_format): moved to" in capsys.readouterr().out.replace("\n", " ")
    assert [row["real"] for row in rows(plain["predictions"])] == [row["real"] for row in rows(auto["predictions"])]
    run(inputs, output, "accuracy", *attack, "--precision", "bf16")
    assert "pass_format, precision): moved to" in capsys.readouterr().out.replace("\n", " ")
    record = json.loads((output / "results.json").read_text())
    assert record["provenance"]["settings"]["precision"] == "bf16-mixed"
    assert record["provenance"]["passes"]["attacks_search_in"] == "bfloat16"
    assert "Attacks searched in bfloat16" in (output / "index.html").read_text()
