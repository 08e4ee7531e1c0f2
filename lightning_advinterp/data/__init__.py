"""Images in, batches out: folders in ImageNet's layout, CIFAR-10, and the rendered concept world.

Names are imported on first use, so that ``data.batch`` (torch only) does not pull in Lightning.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_advinterp.data.batch import Batch
    from lightning_advinterp.data.cifar import CIFAR10DataModule
    from lightning_advinterp.data.concept_world import ConceptWorldDataModule
    from lightning_advinterp.data.decode import BadImageError
    from lightning_advinterp.data.image_folder import ImageFolderDataset, image_tensor
    from lightning_advinterp.data.image_folder_module import ImageFolderDataModule
    from lightning_advinterp.data.imagenet_classes import imagenet_index
    from lightning_advinterp.data.loaders import collate_batch
    from lightning_advinterp.data.module_base import ImageDataModule
    from lightning_advinterp.data.sampler import EpochSampler, ShardSampler
    from lightning_advinterp.data.scan import scan_folder
    from lightning_advinterp.data.transforms import EvalTransform, TrainTransform

_HOMES = {
    "BadImageError": "decode",
    "Batch": "batch",
    "CIFAR10DataModule": "cifar",
    "ConceptWorldDataModule": "concept_world",
    "EpochSampler": "sampler",
    "EvalTransform": "transforms",
    "ImageDataModule": "module_base",
    "ImageFolderDataModule": "image_folder_module",
    "ImageFolderDataset": "image_folder",
    "ShardSampler": "sampler",
    "TrainTransform": "transforms",
    "collate_batch": "loaders",
    "image_tensor": "image_folder",
    "imagenet_index": "imagenet_classes",
    "scan_folder": "scan",
}

__all__ = [
    "BadImageError",
    "Batch",
    "CIFAR10DataModule",
    "ConceptWorldDataModule",
    "EpochSampler",
    "EvalTransform",
    "ImageDataModule",
    "ImageFolderDataModule",
    "ImageFolderDataset",
    "ShardSampler",
    "TrainTransform",
    "collate_batch",
    "image_tensor",
    "imagenet_index",
    "scan_folder",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
