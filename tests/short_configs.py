"""The part that configurations of short trainings share: a quiet trainer on the CPU, and a few small pictures.

It imports nothing, so that processes that are killed and started again lose no time.
"""

QUIET = {
    "accelerator": "cpu",
    "enable_progress_bar": "false",
    "enable_model_summary": "false",
    "log_every_n_steps": 1,
}

SMALL_CONSISTENCY = """
model:
  network: helpers.SmallBackbone
  network_options: {dropout: 0.5}
  objective: {class_path: Consistency, init_args: {layers: relu2, attack: {type: fgsm, eps: [2/255, 8/255]}}}
  optimizer: {lr: 0.05}"""
"""The model of a run that is interrupted; what follows may go on with its keys."""


def short_config(name=None, *, seed=None, train_size=32, val_size=24, test_size=24, batch_size=16, **trainer):
    """YAML of the run's name, the seed, the trainer, and pictures of 16 x 16 pixels of the concept world."""
    sizes = {"train_size": train_size, "val_size": val_size, "test_size": test_size, "batch_size": batch_size}
    lines = [] if name is None else [f"name: {name}"]
    lines += [] if seed is None else [f"seed_everything: {seed}"]
    lines += [f"trainer: {_mapping(trainer | QUIET)}", "data:", "  class_path: ConceptWorldDataModule"]
    return "\n".join([*lines, f"  init_args: {_mapping({'image_size': 16} | sizes)}"])


def _mapping(settings):
    return "{" + ", ".join(f"{key}: {value}" for key, value in settings.items()) + "}"
