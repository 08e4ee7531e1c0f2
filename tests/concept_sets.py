"""A small set of images with labels in memory, with the interface of a set in Broden's format."""

import numpy as np
import torch
from torch.utils.data import Dataset

from lightning_advinterp.data.batch import Batch
from lightning_advinterp.data.broden import Concept, Segmentation

CATEGORIES = ("color", "object", "scene", "texture")
CONCEPTS = {1: 0, 2: 0, 3: 1, 7: 1, 300: 1, 700: 2, 701: 2, 5: 3}


class FakeConcepts(Dataset):
    """Random images in float64, whose labels are random too; numbers of images are not their positions."""

    def __init__(self, n=11, size=16, label_size=(8, 8), seed=0):
        generator = np.random.default_rng(seed)
        self.categories, self.label_size = CATEGORIES, label_size
        self.concepts = {number: Concept(number, f"c{number}", category) for number, category in CONCEPTS.items()}
        self.images = torch.from_numpy(generator.random((n, 3, size, size)))
        self.segmentations = [self._labels(generator) for _ in range(n)]
        self.indices = list(range(100, 100 + n))
        self.fingerprint = f"fake-{n}-{seed}"

    def _labels(self, generator):
        maps, full_labels = {}, {}
        if generator.random() < 0.8:
            maps[0] = generator.choice([0, 1, 2, 300], size=(1, *self.label_size)).astype(np.int32)
        if generator.random() < 0.7:
            maps[1] = generator.choice([0, 0, 3, 7, 300], size=(2, *self.label_size)).astype(np.int32)
        if generator.random() < 0.5:
            full_labels[2] = (int(generator.choice([700, 701])),)
        if generator.random() < 0.3:
            full_labels[3] = (5, 1)
        return Segmentation(maps, full_labels)

    def __len__(self):
        return len(self.indices)

    def __getitem__(self, item):
        number = self.indices[item]
        return Batch(self.images[number - 100], torch.tensor(-1), torch.tensor(number))

    def segmentation(self, index):
        return self.segmentations[index - 100]

    def path_of(self, index):
        return f"{index}.png"
