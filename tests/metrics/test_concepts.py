"""Scoring: the published per-unit tables give back the published ratios; ties and thresholds by hand."""

import csv

import numpy as np
import pytest

from lightning_advinterp.metrics.concepts import UnitConcepts, best_concepts, count_detectors, retained

CATEGORIES = ("object", "part", "scene", "material", "texture", "color")


def published(path):
    """A published table's concepts, the overlaps that its counts give, and its own choice of category."""
    rows = list(csv.DictReader(path.read_text().splitlines()))
    names = sorted({row[f"{category}-label"] for row in rows for category in CATEGORIES})
    label = np.array([[1 + names.index(row[f"{category}-label"]) for category in CATEGORIES] for row in rows])

    def column(field):
        return np.array([[float(row[f"{category}-{field}"]) for category in CATEGORIES] for row in rows])

    intersection = column("intersect")
    iou = intersection / (column("activation") + column("truth") - intersection)
    assert (iou == column("iou")).all()
    return UnitConcepts(label, iou), [row["category"] for row in rows], [names.index(row["label"]) + 1 for row in rows]


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "best", "every", "everything", "unique"),
    [
        (
            "caffe_reference_imagenet",
            (12.5, 6.2, 0.8, 1.2, 15.6, 1.6),
            (19.1, 10.2, 2.0, 1.6, 17.6, 2.3),
            37.9,
            (50, 61),
        ),
        (
            "ResNet-152-model_imagenet",
            (30.9, 3.3, 13.5, 0.8, 16.1, 0.1),
            (41.9, 13.1, 24.1, 2.4, 19.9, 0.1),
            64.7,
            (197, 242),
        ),
    ],
)
def test_published_tables_give_back_their_ratios(real_data, name, best, every, everything, unique):
    concepts, categories, labels = published(real_data / "netdissect_reference" / "results" / f"{name}.csv")
    assert [CATEGORIES[number] for number in concepts.category] == categories
    assert concepts.best_label.tolist() == labels
    units = len(categories)
    for convention, ratios, count in (("best", best, unique[0]), ("every", every, unique[1])):
        detectors = count_detectors(concepts, 0.04, convention)
        # the printed percentages have one decimal, halves rounded to even
        assert tuple(np.round(100 * detectors.units / units, 1)) == ratios
        assert round(100 * detectors.any / units, 1) == everything
        assert detectors.unique.sum() == count


def test_no_published_unit_is_a_detector_at_the_printed_threshold(real_data):
    """SPEC 4.2: 0.4 is a slip for 0.04."""
    folder = real_data / "netdissect_reference" / "results"
    assert count_detectors(published(folder / "caffe_reference_imagenet.csv")[0], 0.4).any == 0
    assert count_detectors(published(folder / "ResNet-152-model_imagenet.csv")[0], 0.4).any == 1


def test_best_label_of_each_category():
    """The lowest number wins a tie; a category without overlap or without labels has none."""
    iou = np.array([[0.1, 0.3, 0.3, 0.0], [0.0, 0.0, 0.0, 0.0]])
    concepts = best_concepts(iou, np.array([2, 5, 9, 300]), np.array([0, 1, 1, 2]), 4)
    assert concepts.label.tolist() == [[2, 5, 0, 0], [0, 0, 0, 0]]
    assert concepts.iou.tolist() == [[0.1, 0.3, 0, 0], [0, 0, 0, 0]]
    assert (concepts.category[0], concepts.best_label[0], concepts.best_iou[0]) == (1, 5, 0.3)
    assert (concepts.best_label[1], concepts.best_iou[1]) == (0, 0)


def test_conventions_by_hand():
    """0.04 itself counts for ``best`` (>=) and not for ``every`` (>); labels of two categories are two."""
    concepts = UnitConcepts(
        np.array([[1, 7], [1, 7], [2, 8], [1, 8]]), np.array([[0.04, 0.01], [0.5, 0.06], [0.05, 0.3], [0.03, 0.02]])
    )
    best, every = (count_detectors(concepts, 0.04, convention) for convention in ("best", "every"))
    assert (best.units.tolist(), best.unique.tolist(), best.any) == ([2, 1], [1, 1], 3)
    assert (every.units.tolist(), every.unique.tolist(), every.any) == ([2, 2], [2, 2], 2)
    with pytest.raises(ValueError, match="convention must be best or every, got 'all'"):
        count_detectors(concepts, 0.04, "all")


def test_retention_by_hand():
    before = UnitConcepts(np.array([[1, 7]] * 5), np.array([[0.3, 0.1]] * 4 + [[0.03, 0.0]]))
    after = UnitConcepts(
        np.array([[1, 7], [2, 7], [1, 7], [1, 7], [1, 7]]),
        np.array([[0.04, 0.01], [0.2, 0.1], [0.1, 0.2], [0.039, 0.0], [0.5, 0.5]]),
    )
    assert retained(before, after, 0.04) == ["concept", "category", "other", "lost", None]
