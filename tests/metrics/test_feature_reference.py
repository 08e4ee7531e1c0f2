"""Centres, neighbours, meanings and presence against scipy and literal loops."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from torch.autograd import gradcheck

from lightning_advinterp.metrics.feature_reference import ClassCentres, ConceptPresence, Neighbours, UnitMeanings

GENERATOR = torch.Generator().manual_seed(0)
FEATURES = torch.randn(60, 7, generator=GENERATOR, dtype=torch.float64).clamp(min=0)
LABELS = torch.randint(0, 4, (60,), generator=GENERATOR)
LABELS[LABELS == 2] = 3  # a class without images
SIMILARITY = torch.exp(-((torch.arange(4.0)[:, None] - torch.arange(4.0)) ** 2)).double()
POINTS = torch.randn(9, 7, generator=GENERATOR, dtype=torch.float64)


@pytest.mark.parametrize("shrinkage", [0.0001, 0.3])
def test_mahalanobis_equals_scipy(shrinkage):
    centres = ClassCentres.of(FEATURES, LABELS, shrinkage)
    assert centres.classes.tolist() == [0, 1, 3]
    x, y = FEATURES.numpy(), LABELS.numpy()
    means = {label: x[y == label].mean(0) for label in (0, 1, 3)}
    covariance = sum(np.outer(a - means[b], a - means[b]) for a, b in zip(x, y, strict=True)) / len(x)
    covariance = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / 7 * np.eye(7)
    inverse = np.linalg.inv(covariance)
    for point, distance, plain in zip(
        POINTS.numpy(), centres.mahalanobis(POINTS).tolist(), centres.distance(POINTS).tolist(), strict=True
    ):
        assert distance == pytest.approx(
            min(mahalanobis(point, mean, inverse) ** 2 for mean in means.values()), rel=1e-9
        )
        assert plain == pytest.approx(min(np.linalg.norm(point - mean) for mean in means.values()), rel=1e-9)


def test_classes_of_one_image_have_no_spread():
    centres = ClassCentres.of(FEATURES[:5], torch.arange(5), 0.1)
    assert centres.distance(FEATURES[:5]).max() < 1e-6
    with pytest.raises(ValueError, match="mahalanobis needs two different images of a class"):
        centres.mahalanobis(POINTS)


def test_one_class_and_dead_units():
    features = FEATURES.clone()
    features[:, 2] = 0
    centres = ClassCentres.of(features, torch.zeros(60, dtype=torch.int64), 0.1)
    assert centres.mahalanobis(POINTS).isfinite().all()


def test_fewer_images_than_features():
    wide = torch.randn(12, 50, generator=torch.Generator().manual_seed(3))
    centres = ClassCentres.of(wide, torch.arange(12) // 4, 0.1)
    assert centres.mahalanobis(wide).isfinite().all()


def test_neighbours_equal_a_literal_loop():
    for k in (1, 5, 100):
        knn_distances = Neighbours.of(FEATURES).distance(POINTS, k).tolist()
        for point, value in zip(POINTS, knn_distances, strict=True):
            direction = point / point.norm()
            distances = sorted(
                float((direction - feature / max(float(feature.norm()), 1e-12)).norm()) for feature in FEATURES
            )
            assert value == pytest.approx(distances[min(k, 60) - 1], abs=1e-7)


def test_meanings_equal_a_literal_loop():
    features = FEATURES.clone()
    features[:, 1] = 0  # dead
    features[:, 4] = 3  # the same for all images
    features[2:, 5] = 0  # fires for two images alone
    similarity = 0.8 * torch.eye(4, dtype=torch.float64) + 0.2
    meanings = UnitMeanings.of(features, LABELS, similarity, 8)
    for unit in range(7):
        values = features[:, unit].tolist()
        top = [image for image in sorted(range(60), key=lambda image: -values[image])[:8] if values[image] > 0]
        if unit in (1, 4):
            assert meanings.near[unit].isnan().all()
            assert meanings.thresholds[unit] == math.inf
            continue
        shares = [sum(int(LABELS[image]) == label for image in top) / len(top) for label in range(4)]
        expected = [sum(shares[m] * float(similarity[m, label]) for m in range(4)) for label in range(4)]
        assert meanings.near[unit].tolist() == pytest.approx(expected)
        assert meanings.thresholds[unit] == min(values[image] for image in top)


def test_presence_equals_a_literal_loop():
    concepts = (0, 1, 0, -1, 2, 1, 0)
    presence = ConceptPresence.of(FEATURES, LABELS, SIMILARITY, 8, concepts)
    limits = presence.thresholds.tolist()

    def present(values):
        strengths = [0.0, 0.0, 0.0]
        for unit, concept in enumerate(concepts):
            if concept >= 0:
                strengths[concept] = max(strengths[concept], min(max(values[unit] / limits[unit], 0), 1))
        return np.array(strengths)

    images = FEATURES[:6]
    for label in range(4):  # of which 2 has no images: those of 1 and 3 stand for it
        weights = [float(SIMILARITY[label, image_label]) for image_label in LABELS]
        rows = [weight * present(row.tolist()) for row, weight in zip(FEATURES, weights, strict=True)]
        implied = np.sum(rows, 0) / sum(weights)
        assert presence.implied[label].numpy() == pytest.approx(implied)
        disagreement = presence.disagreement(images, torch.full((6,), label)).tolist()
        for row, value in zip(images, disagreement, strict=True):
            observed = present(row.tolist())
            cosine = observed @ implied / max(np.linalg.norm(observed) * np.linalg.norm(implied), 1e-8)
            assert value == pytest.approx(1 - cosine, abs=1e-9)


def test_every_unit_stands_for_itself_where_there_are_no_concepts():
    features = FEATURES.clone()
    features[:, 1] = 0
    presence = ConceptPresence.of(features, LABELS, SIMILARITY, 8)
    assert presence.concepts.tolist() == [0, -1, 2, 3, 4, 5, 6]
    assert presence.disagreement(features, LABELS).isfinite().all()


def test_gradients_are_those_of_the_values():
    points = POINTS.clone().requires_grad_()
    centres, neighbours = ClassCentres.of(FEATURES, LABELS, 0.1), Neighbours.of(FEATURES)
    presence = ConceptPresence.of(FEATURES, LABELS, SIMILARITY, 8)
    label = torch.tensor([0, 1, 3] * 3)
    for way in (
        centres.mahalanobis,
        centres.distance,
        lambda x: neighbours.distance(x, 3),
        lambda x: presence.disagreement(x, label),
    ):
        assert gradcheck(way, points)


def test_an_attack_s_gradient_reaches_units_beyond_their_thresholds():
    presence = ConceptPresence.of(FEATURES, LABELS, SIMILARITY, 8)
    strong = (10 * FEATURES.amax(0, keepdim=True)).requires_grad_()
    label = torch.tensor([0])
    assert torch.equal(presence.disagreement(strong, label), presence.disagreement(strong, label, through=True))
    (gradient,) = torch.autograd.grad(presence.disagreement(strong, label).sum(), strong)
    (through,) = torch.autograd.grad(presence.disagreement(strong, label, through=True).sum(), strong)
    assert not gradient.any()
    assert through.all()
