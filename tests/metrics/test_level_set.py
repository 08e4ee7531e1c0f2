"""Walks on spheres, planes, cylinders and quadrics, whose geodesics and curvatures are known."""

import math

import pytest
import torch
from helpers import small_batch, small_network

from lightning_advinterp.metrics.level_set import walk
from lightning_advinterp.networks.smoothing import smoothed_relu

KEYS = torch.tensor([5, 6])


def start_at(*points):
    return torch.tensor(points, dtype=torch.float64)[:, None, None]


def towards(*vectors):
    return torch.tensor(vectors, dtype=torch.float64)


def steps_of(score, x, direction, **settings):
    settings = {"step": 0.05, "steps": 12, "lanczos": 3} | settings
    return list(walk(lambda at: score(at.flatten(1)), x, direction, KEYS[: len(x)], **settings))


@pytest.mark.parametrize("radius", [0.5, 3.0])
def test_on_a_sphere_the_way_is_a_great_circle(radius):
    x = radius * start_at([1.0, 0, 0], [0, 0.6, 0.8])
    waypoints = steps_of(lambda at: at.square().sum(1), x, towards([0, 1.0, 1], [1, 0.3, 0]), step=0.1 * radius)
    for number, waypoint in enumerate(waypoints, 1):
        place = waypoint.x.flatten(1)
        torch.testing.assert_close(place.norm(dim=1), torch.full((2,), radius, dtype=torch.float64))
        assert waypoint.drift.abs().max() < 1e-9
        angle = torch.nn.functional.cosine_similarity(place, x.flatten(1)).arccos()
        torch.testing.assert_close(angle, number * angle.new_tensor([math.atan(0.1)] * 2), rtol=1e-9, atol=0)
        torch.testing.assert_close(waypoint.principal, torch.full((2,), 1 / radius, dtype=torch.float64))
        torch.testing.assert_close(waypoint.turn, 2 * (angle / 2).sin())
        torch.testing.assert_close(waypoint.distance, number * 2 * radius * (angle / number / 2).sin())
        assert (waypoint.turn <= waypoint.bound * (1 + 1e-12)).all()
    first, last = waypoints[0], waypoints[-1]  # the first step is its own chord; then the way is longer than the turn
    torch.testing.assert_close(first.turn, first.bound)
    assert (last.bound - last.turn > 0.01).all()


def test_on_a_plane_nothing_turns():
    x = start_at([0.3, -1.0, 2.0])
    normal = torch.tensor([1.0, 2.0, 2.0], dtype=torch.float64)
    waypoint = steps_of(lambda at: (at @ normal).exp(), x, towards([1.0, 0, 0]))[-1]
    assert waypoint.turn.item() == pytest.approx(0, abs=1e-9)
    assert waypoint.principal.item() == pytest.approx(0, abs=1e-9)
    assert waypoint.distance.item() == pytest.approx(12 * 0.05)
    straight = waypoint.x.flatten(1) - x.flatten(1)
    assert float(straight @ normal) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("direction", "turns"), [([0.0, 0, 1], False), ([0.0, 1, 0], True)])
def test_on_a_cylinder_it_matters_where_one_goes(direction, turns):
    """Along the axis nothing turns although the curvature is 1/R: the bound has slack; around it is a circle."""
    x = start_at([2.0, 0, 0])
    waypoint = steps_of(lambda at: at[:, :2].square().sum(1), x, towards(direction))[-1]
    assert waypoint.principal.item() == pytest.approx(0.5, rel=1e-9)
    expected = 2 * math.sin(12 * math.atan(0.05 / 2) / 2) if turns else 0.0
    assert waypoint.turn.item() == pytest.approx(expected, abs=1e-9)
    assert waypoint.turn <= waypoint.bound


def test_on_an_ellipsoid_the_curvature_grows_along_the_way():
    """At the pole of x²/a² + y²/b² + z²/c² = 1 on the long axis a the curvatures are a/b² and a/c²."""
    axes = torch.tensor([2.0, 1.0, 1.0], dtype=torch.float64)
    walks = [
        steps_of(lambda at: (at / axes).square().sum(1), start_at(place), towards([1.0, 1, 0]), step=0.02, steps=60)
        for place in ([2.0, 0, 0], [0, 1.0, 0])
    ]
    assert walks[0][0].principal.item() == pytest.approx(2.0, rel=1e-3)
    assert walks[1][0].principal.item() == pytest.approx(1.0, rel=1e-2)
    for waypoints in walks:
        rising = torch.stack([waypoint.principal for waypoint in waypoints])
        assert (rising.diff(dim=0) >= 0).all()
        assert all(waypoint.turn <= waypoint.bound * (1 + 1e-3) for waypoint in waypoints)
    assert walks[1][-1].principal > 1.02


def test_where_the_gradient_vanishes_there_are_no_numbers():
    x = start_at([0.0, 0, 0], [1.0, 0, 0])
    waypoint = steps_of(lambda at: at.square().sum(1), x, towards([1.0, 0, 0], [0.0, 1, 0]))[-1]
    assert waypoint.turn.isnan().tolist() == [True, False]


@pytest.mark.parametrize("beta", [2.0, 10.0])
def test_on_a_networks_level_set_the_bound_holds_step_by_step(beta):
    network, batch = small_network().double().eval(), small_batch(n=2, size=6, dtype=torch.float64)
    label = network(batch.image).argmax(1)

    def score(images):
        return network(images).gather(1, label[:, None]).squeeze(1)

    direction = torch.randn(2, 108, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with smoothed_relu(beta):
        waypoints = list(walk(score, batch.image, direction, KEYS, step=0.02, steps=10, lanczos=40))
        final = score(waypoints[-1].x)
    assert (final - score_at(network, batch.image, label, beta)).abs().max() < 1e-9
    for waypoint in waypoints:
        assert (waypoint.turn <= 1.01 * waypoint.bound).all()
    assert (waypoints[-1].turn > 1e-4).all()


def score_at(network, images, label, beta):
    with smoothed_relu(beta):
        return network(images).gather(1, label[:, None]).squeeze(1)
