"""A small stored evaluation with units, top images and names that try to be markup."""

import numpy as np

from lightning_advinterp.analyses import Result
from lightning_advinterp.report import save_results

EVIL = '<img src=x onerror="document.title=1">'
KINDS = ("real", f"fgsm{EVIL}")


def store(folder, seed):
    """Write an evaluation of 60 units of two layers, with 20 images, into a folder."""
    draw = np.random.default_rng(seed)
    semantics, dissection = [], []
    for kind in KINDS:
        for layer in ("layer1", f"layer2{EVIL}"):
            for unit in range(30):
                head = {"layer": layer, "unit": unit, "images": kind}
                lc, iou = draw.random(2)
                cs = draw.random() if kind != "real" else None
                semantics.append(head | {"lc": lc, "cs1": cs, "cs2": cs, "mode_class": EVIL, "mode_index": 0})
                dissection.append(head | {"label": "sky", "category": "object", "iou": iou})
    top = {f"semantics_top-{kind}": draw.integers(0, 20, (60, 3)) for kind in KINDS}
    pictures = {f"panels-{kind}-{n}": draw.integers(0, 256, (16, 16, 3), np.uint8) for kind in KINDS for n in range(20)}
    answers = [
        {"image": f"{n}{EVIL}", "label": 0, "real": int(draw.random() < 0.2), KINDS[1]: int(draw.random() < 0.7)}
        for n in reversed(range(20))  # a row's place is not the image's number
    ]
    stored = [{"image": f"{n}{EVIL}", "picture": f"panels-real-{n}"} for n in range(19)]
    results = {
        "semantics": Result("semantics", tables={"semantics": semantics}, arrays=top | pictures),
        "dissection": Result("dissection", tables={"dissection": dissection}),
        "panels": Result("panels", tables={"panels": stored}),
        "predictions": Result("predictions", tables={"predictions": answers}),
    }
    analyses = {name: {"results": [name], "files": [f"{name}.csv"]} for name in results}
    settings = {"network": f"net{seed}{EVIL}", "attack": "fgsm"}
    save_results(folder, results, {}, {"settings": settings}, more={"analyses": analyses})
    return folder
