from pathlib import Path

import pytest
from broden_sets import write_set
from test_broden_folders import RECIPE, recipe, values

from lightning_advinterp.data.broden.command import main, parser

__all__ = ["recipe", "values"]


def test_a_sound_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    root = write_set(tmp_path / "set")
    main(["check", str(root)])
    thorough = capsys.readouterr().out
    assert f"{root}: 5 images, maps of 8 x 8 pixels, 7 labels" in thorough
    assert "  part             2 images with labels,     1 labels scored\n" in thorough
    assert "no findings in " in thorough
    main(["check", "--quick", str(root)])
    assert thorough.split("fingerprint")[1] == capsys.readouterr().out.split("fingerprint")[1]


def test_findings_and_absence_end_with_a_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    root = write_set(tmp_path / "set")
    (root / "images/a/0_color.png").write_bytes(b"x")
    main(["check", "--quick", str(root)])
    with pytest.raises(SystemExit, match="1"):
        main(["check", str(root)])
    assert "1 finding\n  index.csv, row 2, column color: 'images/a/0_color.png' cannot be" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="1"):
        main(["check", str(tmp_path / "absent")])
    assert "script/dlbroden.sh" in capsys.readouterr().err


def test_build(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    main(["build", str(recipe), str(tmp_path / "set")])
    assert "set: 3 images, maps of 8 x 8 pixels, 6 labels" in capsys.readouterr().out
    recipe.write_text(RECIPE.replace("1: car", "7: car"))
    with pytest.raises(SystemExit, match="1"):
        main(["build", str(recipe), str(tmp_path / "other")])
    assert "recipe.yaml' cannot be built: 2 findings" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="1"):
        main(["build", str(recipe.parent / "absent.yaml"), str(tmp_path / "other")])


def test_render(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    main(["render", str(tmp_path), "--n", "3", "--size", "32", "--label_size", "16"])
    assert ": 3 images, maps of 16 x 16 pixels, 116 labels" in capsys.readouterr().out


def test_help_says_how_to_get_broden(capsys: pytest.CaptureFixture[str]):
    text = " ".join(parser().format_help().split())
    for words in ("script/dlbroden.sh", "Where its server is down", "makebroden.sh", "no download"):
        assert words in text
    with pytest.raises(SystemExit, match="0"):
        main(["build", "--help"])
    assert "images: photos" in capsys.readouterr().out
