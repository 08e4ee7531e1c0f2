"""Readers of networks: checkpoints, weights, patterns, what an evaluation was interrupted in."""

from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from helpers import SmallBackbone

from fuzzing.reader import DAMAGE, Reader
from lightning_advinterp.analyses.accuracy.analysis import AccuracyAnalysis
from lightning_advinterp.analyses.accuracy.predictions import PredictionsAnalysis
from lightning_advinterp.analyses.base.journal import Journal
from lightning_advinterp.attacks.prediction.member import Member
from lightning_advinterp.explanations.patterns import Patterns
from lightning_advinterp.networks import create_network
from lightning_advinterp.networks.checkpoint import load_checkpoint
from lightning_advinterp.training.checkpoint_io import AtomicCheckpointIO
from lightning_advinterp.training.module import RobustClassifier
from lightning_advinterp.training.resume import newest
from lightning_advinterp.training.run_directory import RunDirectory
from lightning_advinterp.units.autoencoder import SparseAutoencoder
from lightning_advinterp.units.basis_files import BasisOrigin, load_basis, save_basis
from lightning_advinterp.units.foreign_autoencoders import Convention, read_autoencoder

_PAYLOAD = "import os\nfrom helpers import SmallBackbone as Net\nos.mkdir('EXECUTED')\n"
"""A module beside a checkpoint; nobody asked for it."""

CLASS_PATH = "helpers.SmallBackbone"


def backbone() -> SmallBackbone:
    torch.manual_seed(0)
    return SmallBackbone(3)


def _checkpoint(folder: Path) -> None:
    module = RobustClassifier(CLASS_PATH, num_classes=3, image_size=16)
    module.network.backbone.load_state_dict(backbone().state_dict())
    module.classes, module.class_names = ["n01440764", "n01443537", "dog"], ["tench", "goldfish", "dog"]
    progress = {"ready": 2, "completed": 2, "started": 2, "processed": 2}
    loops = {"epoch_progress": {"current": progress}, "epoch_loop.batch_progress": {"current": progress}}
    content: dict[str, Any] = {"state_dict": module.state_dict(), "epoch": 1, "global_step": 8}
    content |= {"loops": {"fit_loop": loops}, "optimizer_states": [], "lr_schedulers": []}
    module.on_save_checkpoint(content)
    (folder / "run").mkdir()
    (folder / "payload.py").write_text(_PAYLOAD)
    AtomicCheckpointIO().save_checkpoint(content, folder / "run" / "last.ckpt")


def _loaded(folder: Path) -> Any:
    loaded = load_checkpoint(folder / "run" / "last.ckpt")
    state = loaded.network.backbone.state_dict()
    return state, loaded.network.spec(), loaded.classes, loaded.class_names, loaded.seed, loaded.resize


def _member(folder: Path) -> Any:
    return Member(checkpoint=str(folder / "run" / "last.ckpt")).load().backbone.state_dict()


def _finite(state: Any) -> bool:
    tensors = [value for value in state.values() if isinstance(value, torch.Tensor)]
    variances = [value for key, value in state.items() if key.endswith("running_var")]
    real = all(bool(torch.isfinite(value).all()) and not value.is_complex() for value in tensors)
    return real and all(bool((value >= 0).all()) for value in variances)


def _start(folder: Path) -> Any:
    start = newest([RunDirectory(folder / "run").last])
    if start is None:
        raise ValueError(f"{folder}: the run starts anew")
    return start.epoch, start.batch, start.step


def _resumed_weights(folder: Path) -> Any:
    return RunDirectory(folder / "run").checkpoint_io.load_checkpoint(folder / "run" / "last.ckpt").get("state_dict")


def _weights(folder: Path) -> None:
    torch.save({"state_dict": backbone().state_dict(), "epoch": 3}, folder / "weights.pth")


def _tensors(folder: Path) -> None:
    safetensors.torch.save_file(backbone().state_dict(), folder / "weights.safetensors")


def _network(folder: Path) -> Any:
    (name,) = {path.suffix for path in folder.glob("weights.*")} or {".pth"}
    return create_network(CLASS_PATH, folder / f"weights{name}", input_size=16).backbone.state_dict()


def _analyses() -> list[Any]:
    return [AccuracyAnalysis({}), PredictionsAnalysis({})]


def _journal(folder: Path) -> None:
    accuracy, predictions = _analyses()
    predictions.merge({"seen": {number: [number % 3, 1] for number in range(12)}})
    Journal(folder / "journal.ckpt").save(1, 12, [accuracy, predictions], now=True)


def _resumed(folder: Path) -> Any:
    """What an evaluation would go on from: anew (0 images), or from what was kept."""
    analyses = _analyses()
    journal = Journal(folder / "journal.ckpt")
    sweep = journal.sweep
    done = journal.resume(1, analyses)
    if not done:
        raise ValueError(f"{folder}: the work starts anew")
    return sweep, done, [analysis.state_dict() for analysis in analyses]


def _patterns(folder: Path) -> None:
    Patterns({"conv1": torch.rand(6, 3, 3, 3), "fc": torch.rand(3, 8)}).save(folder / "patterns.safetensors")


def _basis(folder: Path) -> None:
    decoder = torch.nn.functional.normalize(torch.rand(5, 8))
    sae = SparseAutoencoder(torch.rand(5, 8), *(torch.rand(5), decoder, *torch.rand(2, 8)), torch.zeros(5), "topk", 2)
    save_basis(folder / "sae.safetensors", sae, BasisOrigin("relu2", "small", "0" * 64, {"seed": 1}))


def _read_basis(folder: Path) -> Any:
    basis, origin = load_basis(folder / "sae.safetensors")
    return basis.tensors() | basis.settings() | vars(origin)


def _foreign(folder: Path) -> None:
    state = {"encoder.weight": torch.rand(5, 8), "pre_bias": torch.rand(8), "latent_bias": torch.rand(5)}
    torch.save(state | {"decoder.weight": torch.rand(8, 5), "activation": "ReLU"}, folder / "sae.pt")


def _read_foreign(folder: Path) -> Any:
    sae = read_autoencoder(folder / "sae.pt", Convention(), 8)
    return sae.tensors() | sae.settings()


READERS = (
    Reader("checkpoint", _checkpoint, _loaded, "networks", lambda value: _finite(value[0]), DAMAGE),
    Reader("member", _checkpoint, _member, "networks", _finite, DAMAGE),
    Reader("resume", _checkpoint, _start, "training", sealed=DAMAGE),
    Reader("resumed weights", _checkpoint, _resumed_weights, "training", sealed=DAMAGE),
    Reader("weights .pth", _weights, _network, "networks", _finite, DAMAGE),
    Reader("weights .safetensors", _tensors, _network, "networks", _finite),
    Reader(
        "patterns",
        _patterns,
        lambda folder: Patterns.load(folder / "patterns.safetensors").values,
        "explanations",
        _finite,
    ),
    Reader("basis", _basis, _read_basis, "units", _finite, DAMAGE),
    Reader("autoencoder of another library", _foreign, _read_foreign, "units", _finite, DAMAGE),
    Reader("journal", _journal, _resumed, "analyses", sealed=DAMAGE | {"pickle"}),
)
