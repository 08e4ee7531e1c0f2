"""What a step of a sparse autoencoder costs beside the bare matrix products that it consists of, in one run.

    python benchmarks/autoencoder.py                       # 256 units, 1,024 latents, top-k and ReLU, see docs/bases.md
    python benchmarks/autoencoder.py --units 768 --latents 8192 --device cuda

The products are encoding, decoding and their gradients: five of rows x units x latents. They and the steps take turns,
and the ratio is of medians.
"""

import argparse

import torch
from timing import cpu_seconds, in_turn, print_ratios

from lightning_advinterp.core.devices import choose_device
from lightning_advinterp.core.memory import keep_freed_memory
from lightning_advinterp.units.autoencoder_training import AutoencoderSettings, AutoencoderTraining


def products(rows, encoder, decoder, codes):
    """Encode, decode, and the three products of the gradient."""
    with torch.no_grad():
        rows @ encoder.T
        codes @ decoder
        rows @ decoder.T  # of the codes
        codes.T @ rows  # of the decoder
        codes.T @ rows  # of the encoder


def main():
    """Time both, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("units", 256), ("latents", 1024), ("k", 32), ("rows", 1024), ("steps", 10), ("rounds", 9)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(arguments.threads)
    device = choose_device(arguments.device)
    generator = torch.Generator().manual_seed(0)

    def numbers(*shape):
        return torch.randn(*shape, generator=generator).to(device)

    rows, codes = numbers(arguments.rows, arguments.units), numbers(arguments.rows, arguments.latents)
    encoder, decoder = (numbers(arguments.latents, arguments.units) for _ in range(2))

    def training(activation):
        settings = AutoencoderSettings(arguments.latents, activation, arguments.k, steps=10**6, resample=0)
        autoencoder = AutoencoderTraining(rows, settings)
        return lambda: [autoencoder.step(rows) for _ in range(arguments.steps)]

    calls = {
        "products": lambda: [products(rows, encoder, decoder, codes) for _ in range(arguments.steps)],
        "topk": training("topk"),
        "relu": training("relu"),
    }
    sizes = f"{arguments.rows:,} rows, {arguments.units:,} units, {arguments.latents:,} latents, k = {arguments.k}"
    print(f"{arguments.steps} steps of {sizes}, {device}, torch {torch.__version__}")
    print_ratios(in_turn(calls, arguments.rounds, device, cpu_seconds), "products")


if __name__ == "__main__":
    main()
