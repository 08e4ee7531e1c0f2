"""The concepts of a dissection as the concepts that detectors look for."""

import pytest
from detection_runs import sharp_network

from lightning_advinterp.analyses.detection.concepts import unit_concepts

LABELS = ["sky", "dog", "sky", "grass", "dog", "sky", None, "dog"]
OVERLAPS = [0.3, 0.05, 0.039, 0.04, 0.2, 0.5, None, 0.01]


def rows(count=8):
    return {("relu2", unit): {"label": LABELS[unit], "iou": OVERLAPS[unit]} for unit in range(count)}


def test_units_of_one_label_share_a_concept():
    concepts = unit_concepts(sharp_network(), rows(), 0.04, demanded=True)
    assert concepts == (2, 0, -1, 1, 0, 2, -1, -1), "dog, grass, sky; below 0.04 a unit is no detector"


def test_a_dissection_of_other_units_is_refused_where_it_was_named():
    with pytest.raises(
        ValueError, match=r"detection\.dissection: the dissection has 5 units of φ \(relu2\), 4 of them"
    ):
        unit_concepts(sharp_network(), rows(5), 0.04, demanded=True)
    with pytest.raises(ValueError, match="0 of them detectors"):
        unit_concepts(sharp_network(), rows(), 0.9, demanded=True)
    network = sharp_network()
    network.head = "conv2"
    with pytest.raises(ValueError, match="last layer of small reads no linear layer"):
        unit_concepts(network, rows(), 0.04, demanded=True)


def test_elsewhere_every_unit_stands_for_itself_and_that_is_said(caplog):
    assert unit_concepts(sharp_network(), rows(5), 0.04, demanded=False) is None
    assert "every unit stands for a concept of its own" in caplog.text
