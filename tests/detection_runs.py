"""What the tests of detection share: images with numbers, a network that is mostly right, quick settings."""

import torch
from helpers import Memory, small_batch, small_network

from lightning_advinterp.analyses import Runner
from lightning_advinterp.analyses.detection.analysis import DetectionAnalysis
from lightning_advinterp.analyses.detection.config import DetectionConfig
from lightning_advinterp.analyses.detection.parts import divide
from lightning_advinterp.attacks import AttackConfig
from lightning_advinterp.attacks.prediction.presets import create_attacks

ATTACKS = [
    AttackConfig("fgsm", "32/255"),
    AttackConfig("pgd", "64/255", steps=3),
    AttackConfig("pgd", 1.5, norm="l2", steps=2, name="pgd_l2"),
]
QUICK = {
    "learn": 60,
    "calibrate": 40,
    "report": 40,
    "adaptive_images": 9,
    "steps": 3,
    "restarts": 2,
    "weights": (0.1, 1.0),
    "batch_size": 16,
}
SIMILARITY = torch.exp(-((torch.arange(5.0)[:, None] - torch.arange(5.0)) ** 2)).double()


class Numbered(Memory):
    """A batch as a data set that knows its images' numbers."""

    @property
    def indices(self):
        return self.batch.index.tolist()


def sharp_network():
    """A network in float64 whose predictions differ from image to image."""
    network = small_network().double()
    x = small_batch(n=60, dtype=torch.float64, seed=9).image
    with torch.no_grad():
        features = network.forward_features(x, ("penultimate",))[1]["penultimate"]
        head = network.backbone.fc
        head.weight.mul_(30)
        head.bias.copy_(-(head.weight @ features.mean(0)))
    return network


def labelled(count, share=0.8, seed=1):
    """Images of which the network gets about a share right."""
    batch = small_batch(n=count, dtype=torch.float64, seed=seed)
    with torch.no_grad():
        predicted = sharp_network()(batch.image).argmax(1)
    right = torch.rand(count, generator=torch.Generator().manual_seed(seed)) < share
    return batch._replace(label=torch.where(right, predicted, batch.label))


def analysis_of(data, attacks, **settings):
    config = DetectionConfig(**(QUICK | settings))
    parts = divide(data.indices, config, seed=0)
    return DetectionAnalysis(config, parts, attacks, similarity=SIMILARITY, seed=3)


def run_detection(count=140, data=None, attacks=ATTACKS, settings=None, **options):
    """Run the analysis on ``count`` images, and return its result."""
    data = Numbered(labelled(count)) if data is None else data
    attacks = create_attacks(attacks)
    runner = Runner(sharp_network(), data, attacks=attacks, seed=4, **({"batch_size": 16} | options))
    return runner.run([analysis_of(data, attacks, **(settings or {}))])["detection"]
