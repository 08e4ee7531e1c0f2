"""Dissection of a trained network on real images: counts against an independent dense count in float64."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lightning_advinterp.analyses import DissectionAnalysis, DissectionConfig, Runner
from lightning_advinterp.data.broden import BrodenDataset
from lightning_advinterp.networks import create_network

pytestmark = pytest.mark.real


def dense_counts(maps, thresholds, segmentations, columns, size, labels):
    """Upsample everything with torch, and count label by label."""
    inside = np.zeros((maps.shape[1], labels), dtype=np.int64)
    for planes, (by_category, full_labels) in zip(maps, segmentations, strict=True):
        dense = F.interpolate(planes[None], size=size, mode="bilinear", align_corners=False)[0].flatten(1)
        masks = (dense > thresholds[:, None].double()).double().numpy()
        for layer in (layer for stack in by_category.values() for layer in stack):
            for label in np.unique(layer[layer > 0]):
                inside[:, columns[label]] += (masks @ (layer.reshape(-1) == label)).astype(np.int64)
        for label in (label for numbers in full_labels.values() for label in numbers):
            inside[:, columns[label]] += masks.sum(1).astype(np.int64)
    return inside


def test_counts_of_resnet18_on_the_sample(real_data):
    data = BrodenDataset(real_data / "broden_sample_224", size=112)
    data = data.only(list(range(0, len(data), len(data) // 4))[:4])
    weights = real_data / "weights" / "resnet18_pqf.safetensors"
    network = create_network("resnet18", str(weights)).double().eval()
    analysis = DissectionAnalysis(data, config=DissectionConfig(controls=("shuffled",), quantile=0.9))

    class Double(torch.utils.data.Dataset):
        """The same images in float64: the comparison is to the last count."""

        def __len__(self):
            return len(data)

        def __getitem__(self, item):
            batch = data[item]
            return batch._replace(image=batch.image.double() / 255)

    result = Runner(network, Double(), batch_size=4).run([analysis])["dissection"]
    images = torch.stack([Double()[item].image for item in range(len(data))])
    with torch.no_grad():
        maps = network.forward_features(images, ["layer4"])[1]["layer4"]
    values = maps.float().swapaxes(0, 1).flatten(1).double().numpy()
    rows = result.tables["dissection"]
    thresholds = torch.tensor([row["threshold"] for row in rows])
    np.testing.assert_allclose(thresholds.double(), np.quantile(values, 0.9, axis=1, method="hazen"), rtol=2.0**-11)
    counts = analysis._state.counts["real"]["layer4"]
    columns = {number: place for place, number in enumerate(analysis.vocabulary.numbers)}
    segmentations = [data.segmentation(number) for number in data.indices]
    expected = dense_counts(maps, thresholds, segmentations, columns, data.label_size, len(columns))
    np.testing.assert_array_equal(counts.intersection.sum(0)[:, :-1].numpy(), expected)
    assert sum(row["iou"] > 0 for row in rows) > 400
    summary = {row["category"]: row for row in result.tables["dissection_summary"]}
    assert summary["all"]["detectors"] == sum(row["iou"] >= 0.04 for row in rows)
    assert summary["all"]["shuffled"] is not None
