"""Images in, batches out: folders in ImageNet's layout, CIFAR-10, and the rendered concept world."""

from lightning_advinterp.data.batch import Batch
from lightning_advinterp.data.decode import BadImageError
from lightning_advinterp.data.image_folder import ImageFolderDataset, image_tensor
from lightning_advinterp.data.imagenet_classes import imagenet_index
from lightning_advinterp.data.loaders import collate_batch
from lightning_advinterp.data.sampler import EpochSampler, ShardSampler
from lightning_advinterp.data.scan import scan_folder
from lightning_advinterp.data.transforms import EvalTransform, TrainTransform

__all__ = [
    "BadImageError",
    "Batch",
    "EpochSampler",
    "EvalTransform",
    "ImageFolderDataset",
    "ShardSampler",
    "TrainTransform",
    "collate_batch",
    "image_tensor",
    "imagenet_index",
    "scan_folder",
]
