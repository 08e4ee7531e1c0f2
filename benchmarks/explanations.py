"""What explanations cost beyond their passes, and beside captum, as ratios of minima within one run.

    python benchmarks/explanations.py                          # ResNet-18, 96 px, one thread
    python benchmarks/explanations.py --network squeezenet1_0

The unit is one forward pass with a backward pass to the input. A gradient map should cost 1.05 of it, integrated
gradients of n steps 1.05 n. Captum (in the ``test`` extra) is timed on the same network, images and steps; its
guided backpropagation and DeepLIFT get a copy with one relu module for every use, without which they are wrong. All
variants take turns on the same images; the fastest of all rounds counts, since others may use the machine.
"""

import argparse
import importlib.util
import warnings

import torch
from timing import in_turn
from torch import fx, nn

from lightning_advinterp.attacks import ExplanationAttackConfig, create_explanation_attack
from lightning_advinterp.core.memory import keep_freed_memory
from lightning_advinterp.explanations import (
    LRP,
    DeepLift,
    GradCAM,
    Gradient,
    GuidedBackprop,
    IntegratedGradients,
    Occlusion,
    SmoothGrad,
)
from lightning_advinterp.networks import create_network
from lightning_advinterp.networks.smoothing import smoothed_relu

STEPS = 10
ATTACK_STEPS = 20
FEWER_STEPS = 10


def passes(network, x, y, n=1):
    """N forward passes and n backward passes to the input, and nothing else."""
    image = x.detach().requires_grad_()
    for _ in range(n):
        torch.autograd.grad(network(image).gather(1, y[:, None]).sum(), image)


def double_backward(network, x, y):
    """The least that the derivative of a gradient map costs: a forward, a backward, and a backward through both."""
    image = x.detach().requires_grad_()
    with smoothed_relu(10.0):
        (gradient,) = torch.autograd.grad(network(image).gather(1, y[:, None]).sum(), image, create_graph=True)
    torch.autograd.grad(gradient.abs().sum(), image)


def derivative(method, network, x, y):
    """The derivative of a function of a method's maps."""
    image = x.detach().requires_grad_()
    with smoothed_relu(10.0):
        maps = method.map(network, image, y, create_graph=True)
    torch.autograd.grad(maps.square().sum(), image)


def attack(network, x, y, check_every, steps=ATTACK_STEPS):
    """The top-k attack on the gradient map; ``check_every`` iterates the ReLU network is asked."""
    config = ExplanationAttackConfig("topk", steps=steps, check_every=check_every)
    create_explanation_attack(config, Gradient())(network, x)


def one_relu_per_use(body):
    """Return the same network with a relu module for every use."""
    traced = fx.symbolic_trace(body)
    for number, node in enumerate(traced.graph.nodes):
        if node.op == "call_module" and isinstance(traced.get_submodule(node.target), nn.ReLU):
            traced.add_submodule(f"own_relu_{number}", nn.ReLU())
            node.target = f"own_relu_{number}"
    traced.recompile()
    return traced.eval()


def ours(network, x, y, patch):
    """Name to a call of this library and the number of units that it cannot do without."""
    methods = {
        "gradient": (Gradient(), 1),
        "integrated_gradients": (IntegratedGradients(steps=STEPS), STEPS),
        "smoothgrad": (SmoothGrad(samples=STEPS), STEPS),
        "guided_backprop": (GuidedBackprop(), 1),
        "gradcam": (GradCAM(), 1),
        "deeplift": (DeepLift(), 1),
        "lrp": (LRP(), 1),
        "occlusion": (Occlusion(size=patch, stride=patch), None),
    }
    calls = {name: (lambda method=method: method.map(network, x, y), unit) for name, (method, unit) in methods.items()}
    for name in ("gradient", "guided_backprop", "deeplift", "lrp"):
        method = methods[name][0]
        calls[f"{name}, derivative"] = (lambda method=method: derivative(method, network, x, y), None)
    return calls


def captums(network, x, y, patch):
    """Name to a call of captum."""
    import captum.attr as captum

    z, body = network.normalize(x).requires_grad_(), network.backbone
    softmax, own = nn.Sequential(body, nn.Softmax(1)), one_relu_per_use(body)
    layer, size = body.get_submodule(network.phi), (3, patch, patch)
    return {
        "gradient": lambda: captum.Saliency(body).attribute(z, target=y),
        "integrated_gradients": lambda: captum.IntegratedGradients(softmax).attribute(
            z, target=y, n_steps=STEPS, method="riemann_right", internal_batch_size=32
        ),
        "smoothgrad": lambda: captum.NoiseTunnel(captum.Saliency(body)).attribute(
            z, nt_samples=STEPS, nt_samples_batch_size=max(32 // len(x), 1), stdevs=0.6, target=y, abs=False
        ),
        "guided_backprop": lambda: captum.GuidedBackprop(own).attribute(z, target=y),
        "gradcam": lambda: captum.LayerGradCam(body, layer).attribute(z, target=y),
        "deeplift": lambda: captum.DeepLift(own).attribute(z, torch.zeros_like(z), target=y),
        "occlusion": lambda: captum.Occlusion(body).attribute(
            z, size, strides=size, target=y, perturbations_per_eval=max(32 // len(x), 1)
        ),
    }


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--weights", default=None, help="a file; random weights otherwise")
    parser.add_argument("--size", type=int, default=96, help="side of the images in pixels")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--attack", action="store_true", help="time attack steps too")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", message="Setting (forward, )?backward hooks")
    keep_freed_memory()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    device = torch.device(arguments.device)
    network = create_network(arguments.network, arguments.weights).to(device).eval().requires_grad_(False)
    x = torch.rand(arguments.batch, 3, arguments.size, arguments.size, device=device)
    y = network(x).argmax(1)
    patch = max(arguments.size // 4, 1)
    units = {name: unit for name, (_, unit) in ours(network, x, y, patch).items()}
    calls = {
        ("unit", "bare"): lambda: passes(network, x, y),
        ("double", "bare"): lambda: double_backward(network, x, y),
    }
    if arguments.attack:
        calls |= {("attack", every): (lambda every=every: attack(network, x, y, every)) for every in (1, ATTACK_STEPS)}
        calls |= {("fewer", "bare"): lambda: attack(network, x, y, ATTACK_STEPS, FEWER_STEPS)}
        calls |= {("attack", "one image at a time"): lambda: [attack(network, image[None], y[:1], 1) for image in x]}
    calls |= {(name, "ours"): call for name, (call, _) in ours(network, x, y, patch).items()}
    if importlib.util.find_spec("captum"):
        calls |= {(name, "captum"): call for name, call in captums(network, x, y, patch).items()}
    best = {name: min(times) for name, times in in_turn(calls, arguments.rounds, device).items()}
    unit, double = best["unit", "bare"], best["double", "bare"]
    print(f"{arguments.network}, {arguments.size} px, batch {arguments.batch}, {device}, torch {torch.__version__}")
    print(f"one forward and input backward: {1000 * unit:.1f} ms; double backward: {double / unit:.2f} of it")
    print(f"{'method':30} {'ms':>9} {'passes':>8} {'per need':>9} {'captum / ours':>14}")
    for name, need in units.items():
        own = best[name, "ours"]
        per = f"{own / unit / need:9.3f}" if need else f"{own / double:7.3f} d" if "derivative" in name else f"{'':9}"
        other = best.get((name, "captum"))
        print(f"{name:30} {1000 * own:9.1f} {own / unit:8.3f} {per} {'' if other is None else f'{other / own:14.2f}'}")
    for (name, how), taken in best.items():
        if name == "attack":
            what = how if isinstance(how, str) else f"checked every {how} steps"
            print(f"attack step, {what}: {taken / ATTACK_STEPS / double:.3f} double backwards")
    if arguments.attack:  # without the first map and the last check
        further = (best["attack", ATTACK_STEPS] - best["fewer", "bare"]) / (ATTACK_STEPS - FEWER_STEPS)
        print(f"a further step, not checked: {further / double:.3f} double backwards")


if __name__ == "__main__":
    main()
