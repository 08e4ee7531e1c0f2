"""Real images and a really trained network: the signs that the paper reports."""

import pytest

from lightning_advinterp.analyses import REAL, DistancesAnalysis, Runner, SemanticsAnalysis
from lightning_advinterp.attacks import AttackConfig
from lightning_advinterp.attacks.prediction.presets import create_attacks
from lightning_advinterp.data.cifar_classes import CLASS_NAMES, WNIDS
from lightning_advinterp.data.cifar_files import read_cifar10
from lightning_advinterp.data.memory_set import MemoryDataset
from lightning_advinterp.metrics.semantics import whole_space
from lightning_advinterp.networks import create_network
from lightning_advinterp.taxonomy.wordnet import class_distances, class_similarity

pytestmark = pytest.mark.real


@pytest.mark.slow
def test_deep_units_follow_the_prediction_and_early_ones_the_content(real_data):
    network = create_network("cifar_resnet20", real_data / "weights" / "cifar10_resnet20-12fca82f.th")
    test = read_cifar10(real_data / "cifar10")["test"]
    data = MemoryDataset(test.images, test.labels)
    attacks = create_attacks([AttackConfig("fgsm", "4/255")])
    space = whole_space(CLASS_NAMES, class_similarity(class_distances(WNIDS)))
    analyses = [SemanticsAnalysis(attacks, classes=space, share=0.05), DistancesAnalysis(attacks, classes=space)]
    results = Runner(network, data, attacks=attacks, batch_size=100, limit=300).run(analyses)
    rows = results["semantics"].tables["semantics"]
    assert len(rows) == 2 * 688
    assert all(0 < row["lc"] <= 1 for row in rows if row["lc"] is not None)
    layers = {(row["layer"], row["images"]): row for row in results["semantics"].tables["semantics_layers"]}
    first, last = layers["conv1", "fgsm"], layers["layer3.2.conv2", "fgsm"]
    assert first["cs1"] > 0.9 > 0.7 > last["cs1"]
    assert first["cs2"] < 0.7 < 0.75 < last["cs2"]
    assert last["prediction_auc"] > 0.7 > last["content_auc"]
    assert layers["layer3.2.conv2", REAL]["lc"] > layers["conv1", REAL]["lc"] + 0.1
    ratios = {row["ratio"]: row["mean"] for row in results["distances"].tables["distances"]}
    assert ratios["r_ctr"] > 1 > ratios["r_tgt"]
