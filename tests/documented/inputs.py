"""What documented commands take: images, sets of concepts, checkpoints and weights, all small and made here."""

import shutil
import tarfile
from pathlib import Path

import torch
from documented.networks import MY_NETS, network_that_is_right, write_weights
from PIL import Image
from safetensors.torch import save_file

from lightning_advinterp.data.class_labels import cifar10_outputs
from lightning_advinterp.data.concept_world import CLASSES, ConceptWorld
from lightning_advinterp.data.imagenet_classes import imagenet_classes
from lightning_advinterp.networks.checkpoint import CHECKPOINT_FORMAT

SIZE = 36
CROP = 32
COUNT = 48
IMAGENET = ("DIR", "data/imagenet", "imagenet", "imagenette", "imagenet_nips2017", "tiny_imagenet")
CONCEPTS = ("BRODEN", "data/broden1_224", "broden_sample_224")
CHECKPOINTS = ("quickstart", "quickstart-standard", "NAME", "photos")


class Inputs:
    """A folder of inputs; networks' weights are made when a command names them.

    Args:
        folder: where they lie; it is empty, or was filled by an earlier run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        world = ConceptWorld("val", COUNT, size=SIZE)
        self.pictures = world.images
        self.places = torch.tensor([world[number].label for number in range(COUNT)])
        self.wnids = [entry.wnid for entry in imagenet_classes()][:: 1000 // len(CLASSES)][: len(CLASSES)]
        if not (folder / "complete").exists():
            self._write()
            (folder / "complete").touch()

    def _write(self) -> None:
        self._write_images(self.folder / "DIR", self.wnids)
        for name in IMAGENET[1:]:
            self._link(name, "DIR")
        self._write_images(self.folder / "photos", [entry.name for entry in CLASSES])
        names = cifar10_outputs().names
        self._write_images(self.folder / "cifar10" / "test", [names[k % 10] for k in range(len(CLASSES))])
        self._write_shards()
        from broden_sets import write_set

        write_set(self.folder / "BRODEN")
        for name in CONCEPTS[1:]:
            self._link(name, "BRODEN")
        for name in ("a.jpg", "b.jpg"):
            self._picture(ord(name[0]) % COUNT).save(self.folder / name)
        (self.folder / "my_nets.py").write_text(MY_NETS)
        (self.folder / "classes.txt").write_text("\n".join(imagenet_classes()[k].name for k in range(1000)))
        self._write_checkpoints()
        self._write_weights()

    def _picture(self, number: int) -> Image.Image:
        return Image.fromarray(self.pictures[number].permute(1, 2, 0).numpy())

    def _link(self, name: str, target: str) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).symlink_to(self.folder / target)

    def _write_images(self, folder: Path, names: list[str]) -> None:
        for number, place in enumerate(self.places.tolist()):
            path = folder / names[place] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            self._picture(number).save(path)

    def _write_shards(self) -> None:
        folder = self.folder / "shards"
        folder.mkdir()
        for split, count in (("val", 10), ("train", 2)):
            for shard in range(count):
                with tarfile.open(folder / f"{split}-{shard:06d}.tar", "w") as tar:
                    for path in sorted((self.folder / "DIR").rglob("*.png"))[shard::count]:
                        tar.add(path, f"{path.parent.name}/{path.name}")

    def write_parquet(self) -> None:
        """Write ``imagenette.parquet``; the library of tables takes seconds to import."""
        if (self.folder / "imagenette.parquet").exists():
            return
        import datasets

        paths = sorted((self.folder / "DIR").rglob("*.png"))
        kinds = datasets.ClassLabel(names=sorted({path.parent.name for path in paths}))
        features = datasets.Features({"image": datasets.Image(), "label": kinds})
        rows = {"image": [str(path) for path in paths], "label": [path.parent.name for path in paths]}
        table = datasets.Dataset.from_dict(rows, features=features)
        table.map(lambda row: row).to_parquet(str(self.folder / "imagenette.parquet"))

    def _write_checkpoints(self) -> None:
        network = self._right("cifar_resnet20", self.places, num_classes=len(CLASSES), input_size=CROP)
        names = {"classes": [entry.wnid for entry in CLASSES], "class_names": [entry.name for entry in CLASSES]}
        weights = {f"network.backbone.{key}": value for key, value in network.backbone.state_dict().items()}
        meta = {"format": CHECKPOINT_FORMAT, "network": network.spec(), "seed": 0, **names}
        path = self.folder / "RUN.ckpt"
        torch.save({"advinterp": meta, "state_dict": weights}, path)
        shutil.copy(path, self.folder / "OTHER.ckpt")
        for name in CHECKPOINTS:
            (self.folder / "runs" / name).mkdir(parents=True)
            for checkpoint in ("last.ckpt", "best.ckpt"):
                shutil.copy(path, self.folder / "runs" / name / checkpoint)

    def _write_weights(self) -> None:
        weights = torch.load(self.weights_of("resnet18"))
        save_file(weights, self.folder / "resnet18.safetensors")
        torch.save({"state_dict": weights, "state_dict_ema": weights}, self.folder / "two_sets.pth")
        generator = torch.Generator().manual_seed(0)
        shapes = {"W_enc": (192, 64), "b_enc": (64,), "W_dec": (64, 192), "b_dec": (192,)}
        autoencoder = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
        save_file(autoencoder, self.folder / "sae_weights.safetensors")

    def _right(self, name: str, labels: torch.Tensor, **options: object) -> torch.nn.Module:
        border = (SIZE - CROP) // 2
        images = self.pictures[:, :, border : border + CROP, border : border + CROP] / 255
        if name.startswith("timm/vit"):
            images = torch.nn.functional.interpolate(images, 224)
        return network_that_is_right(name, images, labels, **options)

    def weights_of(self, name: str, num_classes: int = 1000, **options: object) -> Path:
        """Return the file of a network's weights, with which it is right on these images."""
        path = self.folder / f"{name.replace('/', '-').replace(':', '-')}-{len(options)}.pth"
        if not path.exists():
            index = {entry.wnid: entry.index for entry in imagenet_classes()}
            places = torch.tensor([index[wnid] for wnid in self.wnids]) if num_classes == 1000 else None
            labels = self.places % num_classes if places is None else places[self.places]
            write_weights(path, self._right(name, labels, num_classes=num_classes, **options))
        return path
