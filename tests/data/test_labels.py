import numpy as np
import pytest

from lightning_advinterp.data.cifar_classes import CLASS_NAMES, WNIDS
from lightning_advinterp.data.class_labels import Outputs, map_labels
from lightning_advinterp.data.labels import balanced_subset, stratified_share

TENCH, GOLDFISH, TOILET_TISSUE = "n01440764", "n01443537", "n15075141"


def test_wnids_become_torchvisions_indices_for_1000_outputs():
    mapping = map_labels([TENCH, TOILET_TISSUE], 1000)
    assert mapping.labels == [0, 999]
    assert len(mapping.classes) == len(mapping.names) == 1000
    assert mapping.classes[999] == TOILET_TISSUE
    assert mapping.names[0] == "tench"


@pytest.mark.parametrize("outputs", [None, 2, 5])
def test_other_networks_get_positions(outputs: int | None):
    mapping = map_labels([GOLDFISH, TOILET_TISSUE], outputs)
    assert mapping.labels == [0, 1]
    assert mapping.classes == [GOLDFISH, TOILET_TISSUE]
    assert mapping.names == ["goldfish", "toilet tissue"]


def test_unknown_folders_with_1000_outputs_get_positions():
    assert map_labels(["cat", "dog"], 1000).labels == [0, 1]


def test_named_outputs_decide():
    outputs = Outputs([TOILET_TISSUE, TENCH, "cat"], ["toilet tissue", "tench", "cat"])
    mapping = map_labels(["cat", TENCH], 3, outputs)
    assert mapping.labels == [2, 1]
    assert mapping.classes == [TOILET_TISSUE, TENCH, "cat"]
    assert map_labels(["tench"], 3, outputs).labels == [1]
    assert map_labels([TENCH], 1000, Outputs((), ())).labels == [0]
    with pytest.raises(ValueError, match=r"knows 3 classes .* 1 of the 2 class folders are none of them \(dog\)"):
        map_labels(["cat", "dog"], 3, outputs)


def test_mixed_folders_are_refused():
    with pytest.raises(ValueError, match=r"1 are \(n01440764\) and 2 are not \(cat, n02084071\); rename"):
        map_labels(["cat", TENCH, "n02084071"], 1000)


def test_label_out_of_range():
    with pytest.raises(ValueError, match=r"class 'c' has label 2, but the network has 2 outputs .* 3 classes; set"):
        map_labels(["a", "b", "c"], 2)
    with pytest.raises(ValueError, match="num_classes must be at least 1"):
        map_labels(["a"], 0)


def test_balanced_subset():
    labels = [0] * 50 + [1] * 50 + [2] * 3
    chosen = balanced_subset(labels, 23, seed=1)
    assert chosen == sorted(set(chosen)) == balanced_subset(labels, 23, seed=1)
    assert sorted(np.bincount([labels[i] for i in chosen])) == [3, 10, 10]
    assert chosen != balanced_subset(labels, 23, seed=2)
    assert balanced_subset(labels, 1000) == list(range(103))
    assert len(balanced_subset([-1] * 9, 4)) == 4
    with pytest.raises(ValueError, match="limit must be at least 1 image, got 0"):
        balanced_subset(labels, 0)


def test_stratified_share():
    labels = [0, 1] * 20 + [2]
    rest, share = stratified_share(labels, 0.1, seed=3)
    assert sorted(rest + share) == list(range(41))
    assert np.bincount([labels[i] for i in share], minlength=3).tolist() == [2, 2, 0]
    assert (rest, share) == stratified_share(labels, 0.1, seed=3)
    assert share != stratified_share(labels, 0.1, seed=4)[1]
    assert len(stratified_share([0, 0], 0.01)[1]) == 1


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5])
def test_share_out_of_range(share: float):
    with pytest.raises(ValueError, match=r"val_share must be in \(0, 1\)"):
        stratified_share([0, 0], share)


def test_nothing_to_share():
    with pytest.raises(ValueError, match="none of the 2 classes has two images; add a val/ folder"):
        stratified_share([0, 1], 0.5)


def test_cifar10s_folders_become_wnids():
    mapping = map_labels(CLASS_NAMES, 10)
    assert (mapping.labels, mapping.classes, mapping.names) == (list(range(10)), list(WNIDS), list(CLASS_NAMES))
    assert map_labels(CLASS_NAMES[:9], 10).classes == list(CLASS_NAMES[:9])
