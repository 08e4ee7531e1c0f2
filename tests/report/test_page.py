import json
import re

import numpy as np
import pytest
from report.stored_units import EVIL, KINDS, store

from lightning_advinterp.analyses import Result
from lightning_advinterp.core.errors import DamagedFileError
from lightning_advinterp.report import save_results
from lightning_advinterp.report.command import main, write_page
from lightning_advinterp.report.page.explorer import explorer_data
from lightning_advinterp.report.page.limits import limits
from lightning_advinterp.report.page.paired import differences, paired_means, paired_shares
from lightning_advinterp.report.page.sentences import findings
from lightning_advinterp.report.page.stored import read_evaluations
from lightning_advinterp.report.page.units import driving_images, unit_table


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    parent = tmp_path_factory.mktemp("stored")
    return [store(parent / name, seed) for seed, name in enumerate("ab")]


def test_the_page_is_the_same_from_the_folder_alone(folders):
    before = (folders[0] / "index.html").read_bytes()
    main([str(folders[0])])
    assert (folders[0] / "index.html").read_bytes() == before
    read_evaluations(folders[0])  # the record still holds


def test_nothing_of_a_name_is_markup(folders, tmp_path):
    page = write_page(folders, tmp_path / "page.html").read_text()
    assert EVIL not in page
    assert "<img src=x" not in page
    assert not re.findall(r'(?:src|href)="https?:', page)
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])
    assert data["networks"] == [f"net0{EVIL}", f"net1{EVIL}"]
    assert len(data["units"]) == 120


def test_units_of_all_networks_are_one_table(folders):
    evaluations = [read_evaluations(folder)[0] for folder in folders]
    table = unit_table(evaluations)
    assert len(table.units) == 120
    for unit, value in zip(table.units, table.columns["IoU, real"]["values"], strict=True):
        network, layer, number = unit
        rows = evaluations[network].rows("dissection")
        (row,) = [row for row in rows if (row["layer"], row["unit"], row["images"]) == (layer, str(number), "real")]
        assert value == pytest.approx(float(row["iou"]), rel=1e-3)
    top = evaluations[1].array(f"semantics_top-{KINDS[1]}")
    assert driving_images(evaluations[1], "semantics")[KINDS[1]]["layer1", 7] == top[7].tolist()


def test_a_caption_is_of_its_image(folders):
    (evaluation,) = read_evaluations(folders[0])
    (group,) = explorer_data([evaluation])["images"][0]
    rows = {row["image"].partition("<")[0]: row for row in evaluation.rows("predictions")}
    shown = group["kinds"][0]["captions"]
    assert shown.pop("19") == ""  # of which panels stores nothing, so that its number is not known
    for number, caption in shown.items():
        assert ("→" in caption) == (rows[number]["real"] == "1"), number


def test_differences_are_paired(folders):
    first, second = (read_evaluations(folder)[0] for folder in folders)
    rows = {row.measure: row for row in differences(first, second)}
    real = rows["top-1 accuracy, real"]
    right = [np.array([row["real"] == "0" for row in each.rows("predictions")]) for each in (first, second)]
    assert (real.first, real.second, real.pairs) == (right[0].mean(), right[1].mean(), 20)
    iou = rows["mean IoU, real"]
    assert "mean LC, real" in rows
    assert f"mean LC, {KINDS[1]}" not in rows
    values = [
        np.array([float(row["iou"]) for row in each.rows("dissection") if row["images"] == "real"])
        for each in (first, second)
    ]
    gap = values[1] - values[0]
    assert iou.difference == pytest.approx(gap.mean())
    assert iou.high - iou.low == pytest.approx(2 * 2.001 * gap.std(ddof=1) / 60**0.5, rel=1e-3)  # t of 59, tabulated


def test_accuracies_without_predictions_stand_side_by_side(tmp_path):
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder, share in zip(folders, (0.25, 0.75), strict=True):
        rows = [{"images": kind, "n": 8, "top1": share} for kind in ("real", "fgsm")]
        accuracy = {"accuracy": Result("accuracy", tables={"accuracy": rows})}
        save_results(folder, accuracy, {}, {"settings": {"network": folder.name}})
    rows = differences(*(read_evaluations(folder)[0] for folder in folders))
    assert [row.measure for row in rows] == ["top-1 accuracy, real", "top-1 accuracy, fgsm"]
    assert [(row.first, row.second, row.difference, row.pairs) for row in rows] == [(0.25, 0.75, 0.5, 0)] * 2
    page = write_page(folders, tmp_path / "page.html").read_text()
    assert "<td>+0.5</td><td>–</td><td>none: no predictions</td><td>–</td>" in page


def test_words_of_explanations_and_of_layers_that_were_not_ranked(tmp_path):
    """Radii are fractions, random signs no attack, few images are said; units that were not ranked have no list."""
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        rows = [
            {"image": n, "method": "gradient", "attack": attack, "eps": 8 / 255, "spearman": 0.5 + n / 10}
            for attack in ("random_sign", "topk")
            for n in range(2)
        ]
        summary = [
            {"method": "gradient", "attack": attack, "eps": 8 / 255, "n": 2, "spearman": 0.55}
            for attack in ("random_sign", "topk")
        ]
        heads = {
            "semantics": [{"layer": "conv", "unit": unit, "images": "real", "lc": 0.5} for unit in range(2)],
            "dissection": [{"layer": "stage", "unit": unit, "images": "real", "iou": 0.1} for unit in range(2)],
        }
        top = {f"{name}_top-real": np.zeros((2, 3), int) for name in heads}
        results = {name: Result(name, tables={name: units}) for name, units in heads.items()}
        results["fragility"] = Result("fragility", tables={"fragility": rows, "fragility_summary": summary}, arrays=top)
        save_results(folder, results, {}, {"settings": {"network": "net"}})
    (first,), (second,) = map(read_evaluations, folders)
    measures = [row.measure for row in differences(first, second)]
    assert "mean rank correlation, gradient, topk, ε=8/255" in measures
    sentences = [sentence.text for sentence in findings(first)]
    assert any(text.startswith("The control, random_sign ε=8/255, which is no attack") for text in sentences)
    assert any(text.startswith("An attack on explanations, topk ε=8/255") for text in sentences)
    assert any("measured on 2 images" in sentence.text for sentence in limits(first))
    units = explorer_data([first])
    for group, layer in zip(units["images"][0], ("conv", "stage"), strict=True):
        for (_, place, _), images in zip(units["units"], group["kinds"][0]["top"], strict=True):
            assert (images is None) == (units["layers"][place] != layer)


def test_paired_intervals_hold_their_level():
    """Of pairs whose shares differ by 0.1 about 95 % of the intervals hold it; Wald's own would hold fewer."""
    draw = np.random.default_rng(0)
    shares = means = 0
    for _ in range(400):
        cells = draw.choice(4, 40, p=[0.4, 0.15, 0.25, 0.2])  # both, first alone, second alone, neither
        low, high = paired_shares(np.isin(cells, [0, 1]).tolist(), np.isin(cells, [0, 2]).tolist())
        shares += low <= 0.1 <= high
        first = draw.normal(size=12)
        low, high = paired_means(first.tolist(), (first + draw.normal(0.3, 1, 12)).tolist())
        means += low <= 0.3 <= high
    assert 370 <= shares <= 396
    assert 368 <= means <= 394


def test_a_changed_folder_is_refused(folders, tmp_path, capsys):
    folder = store(tmp_path / "c", 2)
    (folder / "dissection.csv").write_text("layer\n1\n")
    with pytest.raises(DamagedFileError, match=r"dissection\.csv"):
        write_page([folder])
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert "there is no evaluation here" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"ends in \.html"):
        write_page([folders[0]], tmp_path / "page.txt")
