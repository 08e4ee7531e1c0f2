"""Lightning data modules: image folders, CIFAR-10, and the concept world."""

from lightning_advinterp.datamodules.base import ImageDataModule
from lightning_advinterp.datamodules.cifar import CIFAR10DataModule
from lightning_advinterp.datamodules.concept_world import ConceptWorldDataModule
from lightning_advinterp.datamodules.image_folder import ImageFolderDataModule
from lightning_advinterp.datamodules.user_images import UserImagesDataModule

__all__ = [
    "CIFAR10DataModule",
    "ConceptWorldDataModule",
    "ImageDataModule",
    "ImageFolderDataModule",
    "UserImagesDataModule",
]
