"""The paired bootstrap against a literal loop, and its behaviour where the answer is known."""

import numpy as np
import pytest

from lightning_advinterp.metrics.bootstrap import paired_bootstrap


def outcomes(seed=0, seeds=3, images=40):
    generator = np.random.default_rng(seed)
    hard = generator.random(images)
    return {arm: generator.random((seeds, images)) + bonus > hard for arm, bonus in (("plain", 0.0), ("robust", 0.3))}


def test_equals_a_literal_loop():
    """Same scheme, written out: seeds, then images, then the mean over both draws."""
    arms = outcomes()
    generator, means, differences = np.random.default_rng(5), [], []
    for _ in range(4000):
        rows, columns = generator.integers(0, 3, 3), generator.integers(0, 40, 40)
        drawn = {arm: array[rows][:, columns].mean() for arm, array in arms.items()}
        means.append(drawn["robust"])
        differences.append(drawn["robust"] - drawn["plain"])
    for literal, interval in (
        (means, paired_bootstrap(arms)["robust"]),
        (differences, paired_bootstrap(arms, "plain")["robust"]),
    ):
        low, high = np.percentile(literal, (2.5, 97.5))
        assert interval.mean == pytest.approx(np.mean(literal), abs=0.01)
        assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.02)


def test_an_arm_does_not_differ_from_itself():
    arms = outcomes() | {"twin": outcomes()["robust"]}
    assert paired_bootstrap(arms, "robust")["twin"] == (0, 0, 0)


def test_pairing_narrows_the_difference():
    """Two arms that err on the same hard images: their difference is far better known than either."""
    generator = np.random.default_rng(1)
    easy = np.tile(generator.random(200) < 0.5, (3, 1))
    better = easy | (generator.random((3, 200)) < 0.05)
    arms = {"base": easy, "better": better}
    alone, paired = paired_bootstrap(arms)["better"], paired_bootstrap(arms, "base")["better"]
    assert paired.high - paired.low < (alone.high - alone.low) / 2
    assert paired.low > 0


def test_more_seeds_of_the_same_images_do_not_remove_the_images_spread():
    single = {"arm": np.random.default_rng(0).random((1, 100)) < 0.5}
    many = {"arm": np.tile(single["arm"], (20, 1))}
    widths = [
        interval.high - interval.low for interval in (paired_bootstrap(single)["arm"], paired_bootstrap(many)["arm"])
    ]
    assert widths[1] == pytest.approx(widths[0], abs=0.02)


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match=r"one shape \[seeds, images\]"):
        paired_bootstrap({"a": np.zeros((2, 3), bool), "b": np.zeros((2, 4), bool)})
    with pytest.raises(ValueError, match="reference must be one of plain, robust, got 'twin'"):
        paired_bootstrap(outcomes(), "twin")
