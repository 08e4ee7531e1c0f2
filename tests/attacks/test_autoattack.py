"""APGD, FAB, Square and AutoAttack: against the paper's algorithm, solvers, and networks with known distances."""

import numpy as np
import pytest
import torch
from helpers import small_batch, small_network
from reference.apgd import apgd
from reference.square import p_selection
from scipy.optimize import linprog, minimize
from torch import nn
from torch.nn import functional as F

from lightning_advinterp.attacks import AttackConfig, create_attack, sample_keys
from lightning_advinterp.attacks.loop.ascent import checkpoints
from lightning_advinterp.attacks.loop.goal import (
    difference_of_logits_ratio,
    margin,
    targeted_difference_of_logits_ratio,
)
from lightning_advinterp.attacks.prediction import square
from lightning_advinterp.attacks.prediction.hyperplane import project_onto_hyperplane
from lightning_advinterp.attacks.prediction.squares import share_of_pixels, side, square_pattern
from lightning_advinterp.attacks.prediction.untargeted import AdversarialImages, target_classes

PARTS = ("apgd", "apgd_t", "fab_t", "square")


def coloured_images(n, seed):
    """Five classes, each a colour of its own under noise; float64."""
    colour = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1]], dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(0, 5, (n,), generator=generator)
    noise = torch.rand(n, 3, 16, 16, generator=generator, dtype=torch.float64)
    shade = 0.03 * torch.randn(n, 3, 1, 1, generator=generator, dtype=torch.float64)
    return (0.4 + 0.1 * colour[label][..., None, None] + shade + 0.3 * (noise - 0.5)).clamp(0, 1), label


@pytest.fixture(scope="module")
def trained():
    network = small_network().double().train()
    x, y = coloured_images(200, 0)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    for _ in range(80):
        optimizer.zero_grad()
        F.cross_entropy(network(x), y).backward()
        optimizer.step()
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def images(trained):
    x, y = coloured_images(24, 1)
    assert (trained(x).argmax(1) == y).double().mean() > 0.6
    return x, y


class Linear(nn.Module):
    """Random weights, and the distance of an image to the nearest other class in closed form."""

    def __init__(self, classes, size=6, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = torch.randn(classes, 3 * size * size, generator=generator, dtype=torch.float64)
        self.x = 0.4 + 0.2 * torch.rand(8, 3, size, size, generator=generator, dtype=torch.float64)
        self.y = self(self.x).argmax(1)

    def forward(self, x):
        return (x.flatten(1) - 0.5) @ self.weight.T

    def distance(self, norm):
        """min over t of (z_y − z_t) / ‖w_t − w_y‖, in the dual norm; no image is near the box's edge."""
        logits = self(self.x)
        gap = logits.gather(1, self.y[:, None]) - logits
        dual = (self.weight - self.weight[self.y][:, None]).norm(dim=2, p=1 if norm == "linf" else 2)
        return torch.where(dual > 0, gap / dual, torch.inf).amin(1)


def recorded(network, run):
    """What ``run`` shows the network, and its results."""
    points = []
    handle = network.register_forward_hook(lambda module, inputs, output: points.append(inputs[0].detach().clone()))
    try:
        return points, run()
    finally:
        handle.remove()


def test_checkpoints_are_the_papers():
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(1) == [1]


@pytest.mark.parametrize("loss", ["cross_entropy", "dlr", "dlr_targeted"])
@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.008), ("l2", 0.15)])
def test_apgd_is_the_papers_algorithm(trained, images, norm, eps, loss):
    """Every point, image by image, from the attack's own start."""
    (index,) = (trained(images[0]).argmax(1) == images[1]).nonzero(as_tuple=True)
    compared, halved = 0, 0
    for i in index[:6].tolist():
        x, y = images[0][i : i + 1], images[1][i : i + 1]
        config = AttackConfig("apgd_t" if loss == "dlr_targeted" else "apgd", eps, norm=norm, steps=40)
        attack = create_attack(config)
        attack.loss, attack.targets = loss, 1
        (_, *ours), result = recorded(trained, lambda x=x, y=y, attack=attack: attack.run(trained, x, y))
        target = target_classes(trained(x), y, 1)[:, 0]

        def objective(image, y=y, target=target):
            logits = trained(image)
            if loss == "dlr_targeted":
                return targeted_difference_of_logits_ratio(logits, y, target).sum()
            return (F.cross_entropy(logits, y) if loss == "cross_entropy" else by_hand(logits[0], int(y))).sum()

        x_max, theirs, step_size = apgd(objective, x, ours[0], eps, 40, norm)
        for iterate, its in zip(ours, theirs, strict=False):
            torch.testing.assert_close(iterate, its, rtol=0, atol=1e-9)
        if result.success:
            torch.testing.assert_close(result.x_adv, theirs[len(ours) - 1], rtol=0, atol=1e-9)
        else:
            assert len(ours) == len(theirs) == 41
            torch.testing.assert_close(result.x_adv, x_max, rtol=0, atol=1e-9)
            compared, halved = compared + 1, halved + (step_size < eps)
    assert compared >= 2
    assert halved >= 1


def by_hand(z, y):
    """DLR of one row of logits, as printed."""
    order = z.sort(descending=True).values
    runner_up = max(z[j] for j in range(len(z)) if j != y)
    return -(z[y] - runner_up) / (order[0] - order[2] + 1e-12)


def test_dlr_by_hand():
    z = torch.randn(20, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y, t = torch.arange(20) % 10, (torch.arange(20) + 3) % 10
    expected = torch.stack([by_hand(z[i], int(y[i])) for i in range(20)])
    torch.testing.assert_close(difference_of_logits_ratio(z, y), expected, rtol=0, atol=1e-12)
    targeted = []
    for i in range(20):
        order = z[i].sort(descending=True).values
        targeted.append(-(z[i, y[i]] - z[i, t[i]]) / (order[0] - (order[2] + order[3]) / 2 + 1e-12))
    ours = targeted_difference_of_logits_ratio(z, y, t)
    torch.testing.assert_close(ours, torch.stack(targeted), rtol=0, atol=1e-12)
    torch.testing.assert_close(targeted_difference_of_logits_ratio(5 * z + 2, y, t), ours, rtol=0, atol=1e-9)


def test_targets_are_the_likeliest_other_classes():
    logits = torch.tensor([[3.0, 1, 2, 0], [0, 1, 2, 3]])
    assert target_classes(logits, torch.tensor([0, 2]), 9).tolist() == [[2, 1, 3], [3, 1, 0]]
    assert target_classes(logits, torch.tensor([0, 2]), 2).tolist() == [[2, 1], [3, 1]]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_projection_is_what_a_solver_finds(norm):
    generator = torch.Generator().manual_seed(0)
    n, d = 40, 7
    x = torch.rand(n, d, generator=generator, dtype=torch.float64)
    x[::5] = x[::5].round()  # in corners of the box
    w = torch.randn(n, d, generator=generator, dtype=torch.float64)
    w[1::4, :3] = 0
    low, high = w.clamp(max=0).sum(1), w.clamp(min=0).sum(1)
    b = low + (high - low) * torch.rand(n, generator=generator, dtype=torch.float64)  # every plane meets the box
    delta = project_onto_hyperplane(x, w, b, norm)
    torch.testing.assert_close((w * (x + delta)).sum(1), b, rtol=0, atol=1e-12)
    assert (x + delta).min() >= -1e-12
    assert (x + delta).max() <= 1 + 1e-12
    for xi, wi, bi, di in zip(x.numpy(), w.numpy(), b.numpy(), delta.numpy(), strict=True):
        if norm == "linf":
            reach = np.vstack([np.c_[np.eye(d), -np.ones(d)], np.c_[-np.eye(d), -np.ones(d)]])
            solution = linprog(
                np.r_[np.zeros(d), 1],
                A_ub=reach,
                b_ub=np.zeros(2 * d),
                A_eq=np.r_[wi, 0][None],
                b_eq=[bi - wi @ xi],
                bounds=[*zip(-xi, 1 - xi, strict=True), (0, None)],
            )
            assert np.abs(di).max() == pytest.approx(solution.fun, abs=1e-9)
        else:
            solution = minimize(
                lambda v: v @ v / 2,
                np.zeros(d),
                jac=lambda v: v,
                bounds=list(zip(-xi, 1 - xi, strict=True)),
                constraints={
                    "type": "eq",
                    "fun": lambda v, wi=wi, xi=xi, bi=bi: wi @ (xi + v) - bi,
                    "jac": lambda v, wi=wi: wi,
                },
                method="SLSQP",
                options={"ftol": 1e-14},
            )
            assert solution.success
            np.testing.assert_allclose(di, solution.x, rtol=0, atol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_projection_without_a_solution(norm):
    """Out of reach, the nearest corner; without a direction, no move."""
    x, w = torch.tensor([[0.2, 0.9, 0.5], [0.2, 0.9, 0.5]]), torch.tensor([[1.0, -2, 0], [0, 0, 0]])
    delta = project_onto_hyperplane(x, w, torch.tensor([5.0, 1.0]), norm)
    torch.testing.assert_close(delta, torch.tensor([[0.8, -0.9, 0], [0, 0, 0]]))


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(
    ("config", "classes", "above"),
    [
        ({"type": "apgd"}, 2, 1.02),
        ({"type": "apgd", "loss": "dlr"}, 3, 1.02),
        ({"type": "apgd_t", "steps": 40}, 5, 1.02),
        ({"type": "fab_t"}, 2, 1.02),
        ({"type": "fab_t", "steps": 40}, 5, 1.02),
        ({"type": "square", "queries": 600}, 2, 1.5),
    ],
)
def test_linear_networks_break_above_their_distance_and_not_below(norm, config, classes, above):
    network = Linear(classes)
    distance = network.distance(norm)
    for i in range(2):
        x, y = network.x[i : i + 1], network.y[i : i + 1]
        factor = above if norm == "linf" or config["type"] != "square" else 2.5
        for share, expected in ((0.98, False), (factor, True)):
            eps = float(distance[i]) * share
            result = create_attack(AttackConfig(eps=eps, norm=norm, **config)).run(network, x, y)
            assert bool(result.success) == expected, (i, share)
            assert (result.linf if norm == "linf" else result.l2) <= eps + 1e-9


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_square_keeps_its_best_query(trained, images, norm):
    x, y = images
    attack = create_attack(AttackConfig("square", "1/255" if norm == "linf" else 0.05, norm=norm, queries=60))
    (_, *queries), result = recorded(trained, lambda: attack.run(trained, x, y, keys=sample_keys(torch.arange(len(y)))))
    held = ~result.success
    assert len(queries) == 60
    assert held.sum() >= 5
    (todo,) = (trained(x).argmax(1) == y).nonzero(as_tuple=True)
    best = torch.full((len(y),), -torch.inf, dtype=torch.float64)
    for points in queries:  # those that survive a query are those that the next one sees
        margins = margin(trained(points), y[todo])
        best[todo] = torch.maximum(best[todo], margins)
        todo = todo[margins <= 0]
    torch.testing.assert_close(result.trace[1, held], best[held], rtol=0, atol=1e-12)
    torch.testing.assert_close(margin(trained(result.x_adv), y), result.trace[1], rtol=0, atol=1e-12)


def test_squares_schedule_and_pattern():
    """p halves after queries 10, 50, 200, 500, 1000, 2000, 4000, 6000 and 8000 of 10 000."""
    at = (0, 10, 11, 51, 201, 501, 1001, 2001, 4001, 6001, 8001)
    assert [0.8 / share_of_pixels(q, 10_000) for q in at] == [1, 1, *(2**k for k in range(1, 10))]
    assert share_of_pixels(26, 5000) == 0.2
    assert (side(0.8, 32, 32), side(0.0001, 32, 32), side(0.8, 20, 40)) == (29, 1, 20)
    assert (side(0.0001, 32, 32, odd=True), side(0.1, 32, 32, odd=True)) == (3, 11)
    for length in (1, 2, 3, 7):
        assert square_pattern(length).norm() == pytest.approx(1)
    eta = square_pattern(5)
    assert (eta[:2] > 0).all()
    assert (eta[2:] < 0).all()


class Unbroken(nn.Module):
    def forward(self, x):
        return torch.eye(4, dtype=x.dtype)[:1].expand(len(x), 4)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(("kind", "queries"), [("autoattack", 5000), ("autoattack", 300), ("square", 5000)])
def test_squares_shrink_as_in_the_authors_code(images, monkeypatch, norm, kind, queries):
    """Standard AutoAttack takes the schedule for 10,000 queries as it is; Square alone rescales it."""
    shares = []
    for name in ("linf_proposal", "l2_proposal"):
        monkeypatch.setattr(square, name, lambda x, best, *rest: shares.append(rest[-1]) or best)
    attack = create_attack(AttackConfig(kind, 1e-6, norm=norm, queries=queries))
    last = attack.attacks[-1] if kind == "autoattack" else attack
    last(Unbroken(), images[0][:1], torch.zeros(1, dtype=torch.int64))
    assert shares == [p_selection(it, queries, rescale_schedule=kind == "square") for it in range(queries - 1)]


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.02), ("l2", 0.4)])
def test_autoattack_breaks_what_any_of_its_attacks_breaks(trained, images, norm, eps):
    x, y = images
    keys = sample_keys(torch.arange(len(y)))
    settings = {"apgd": {"steps": 8}, "apgd_t": {"steps": 8}, "fab_t": {"steps": 8}, "square": {"queries": 40}}
    alone = {
        kind: create_attack(AttackConfig(kind, eps, norm=norm, **settings[kind])).run(trained, x, y, keys=keys)
        for kind in PARTS
    }
    attack = create_attack(AttackConfig("autoattack", eps, norm=norm, steps=8, queries=40))
    result = attack.run(trained, x, y, keys=keys)
    union = torch.stack([attacked.success for attacked in alone.values()]).any(0)
    assert torch.equal(result.success, union)
    wrong = trained(x).argmax(1) != y
    assert wrong.any()
    assert 0 < (~union).sum() < (~wrong).sum()
    assert torch.equal(trained(result.x_adv).argmax(1) != y, result.success)
    for held in (wrong, ~union):
        assert torch.equal(result.x_adv[held], x[held])
    for i in (union & ~wrong).nonzero().squeeze(1).tolist():  # the first of the four that breaks it
        first = next(attacked for attacked in alone.values() if attacked.success[i])
        torch.testing.assert_close(result.x_adv[i], first.x_adv[i], rtol=0, atol=1e-9)
    assert (result.linf if norm == "linf" else result.l2).max() <= eps + 1e-9
    torch.testing.assert_close(result.trace[1], margin(trained(result.x_adv), y), rtol=0, atol=1e-9)
    torch.testing.assert_close(result.trace[0], margin(trained(x), y), rtol=0, atol=1e-9)


def test_autoattack_believes_only_a_second_look(trained, images):
    attack = create_attack(AttackConfig("autoattack", "1/255"))

    class Liar:
        def hunt(self, network, attacked):
            return AdversarialImages(
                attacked.x * 0.5, torch.ones_like(attacked.label, dtype=torch.bool), torch.ones(len(attacked.x))
            )

        def check_classes(self, num_classes):
            pass

    attack.attacks = (Liar(),)
    result = attack.run(trained, *images)
    fooled = trained(images[0] * 0.5).argmax(1) != images[1]
    wrong = trained(images[0]).argmax(1) != images[1]
    assert not fooled.all()
    assert torch.equal(result.success, fooled | wrong)
    assert torch.equal(result.x_adv[~result.success], images[0][~result.success])


@pytest.mark.parametrize("kind", [*PARTS, "autoattack"])
def test_passes(trained, images, monkeypatch, kind):
    """No image takes more than the attack says, and an image that holds takes just that many of the fixed ones."""
    x, y = (part[:1] for part in images)
    assert trained(x).argmax(1) == y
    queries = {"queries": 7} if kind in ("square", "autoattack") else {}
    steps = {"steps": 5} if kind != "square" else {}
    attack, backwards, grad = create_attack(AttackConfig(kind, 1e-6, **queries, **steps)), [], torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *args, **more: backwards.append(1) or grad(*args, **more))
    inputs, result = recorded(trained, lambda: attack.run(trained, x, y))
    assert not result.success
    most, targets = attack.passes, 4
    assert (len(inputs), len(backwards)) <= most
    expected = {"apgd": (7, 5), "apgd_t": (1 + 6 * targets, 5 * targets), "square": (8, 0)}
    if kind in expected:
        assert (len(inputs), len(backwards)) == expected[kind]
    inputs, _ = recorded(trained, lambda: attack(trained, x, (y + 1) % 5))
    assert len(inputs) == 1  # misclassified already


def test_broken_images_leave_the_batch(trained, images):
    attack = create_attack(AttackConfig("apgd", 0.02))
    inputs, result = recorded(trained, lambda: attack.run(trained, *images))
    sizes = [len(points) for points in inputs[1:]]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < sizes[0] < len(images[1])
    assert sizes[0] == (trained(images[0]).argmax(1) == images[1]).sum()
    assert result.success.sum() > len(images[1]) - sizes[0]


@pytest.mark.parametrize("kind", ["apgd_t", "autoattack"])
def test_three_classes_are_refused(kind):
    with pytest.raises(ValueError, match=r"dlr_targeted needs 4 classes or more, got 3"):
        create_attack(AttackConfig(kind))(small_network(3), small_batch().image, torch.zeros(7, dtype=torch.int64))


def test_two_classes_are_refused_by_the_dlr():
    batch, label = small_batch(), torch.zeros(7, dtype=torch.int64)
    with pytest.raises(ValueError, match="apgd with loss=dlr needs 3 classes or more, got 2"):
        create_attack(AttackConfig("apgd", loss="dlr"))(small_network(2), batch.image, label)
    with pytest.raises(ValueError, match="DLR compares 3 logits: the network has 2 classes"):
        create_attack(AttackConfig("pgd", loss="dlr"))(small_network(2), batch.image, label)


def test_labels_and_targets(trained, images):
    x, y = images
    predicted = trained(x).argmax(1)
    result = create_attack(AttackConfig("square", "8/255", label="predicted", queries=3)).run(trained, x)
    assert torch.equal(result.target, predicted)
    assert torch.equal(result.success, trained(result.x_adv).argmax(1) != predicted)
    with pytest.raises(ValueError, match="square is untargeted: call it without target"):
        create_attack(AttackConfig("square", queries=3))(trained, x, y, target=(y + 1) % 5)
