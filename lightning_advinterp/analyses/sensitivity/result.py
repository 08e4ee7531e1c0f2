"""From what was found to the result of sensitivity."""

from collections.abc import Sequence

from lightning_advinterp.analyses.sensitivity.claim import claim_rows
from lightning_advinterp.analyses.sensitivity.noise import NOISES, noise_kind
from lightning_advinterp.analyses.sensitivity.state import READINGS
from lightning_advinterp.analyses.sensitivity.tables import ALL, Found, class_rows, layer_rows, unit_rows
from lightning_advinterp.core.result import Result, Row


def build_result(name: str, findings: Found, attacks: Sequence[str], caliper: float, seed: int) -> Result:
    """Return tables and scalars.

    Args:
        name: of the analysis.
        findings: what both sweeps found.
        attacks: names; the first one's scalars have the plain names, the others' their name in front.
        caliper: of the matching.
        seed: of resampling.
    """
    tables = {
        "sensitivity": list(unit_rows(findings)),
        "sensitivity_layers": list(layer_rows(findings)),
        "sensitivity_classes": list(class_rows(findings)),
    }
    if findings.concepts is not None:
        tables["sensitivity_test"] = claim_rows(findings, caliper, seed)
    scalars: dict[str, float | None] = {}
    for number, attack in enumerate(attacks):
        head = f"{name}/" if number == 0 else f"{name}/{attack}/"
        scalars |= {head + key: value for key, value in _scalars(tables, attack).items()}
    present_scalars = {key: value for key, value in scalars.items() if value is not None and value == value}
    return Result(name, present_scalars, tables)


def _scalars(tables: dict[str, list[Row]], attack: str) -> dict[str, float | None]:
    """Return what is logged of an attack: of all layers, and how its units near the classes change in the last one."""
    layers = {row["images"]: row for row in tables["sensitivity_layers"]}  # the last row of a kind: all layers
    scalars = {key: layers[attack][key] for key in ("sensitivity", "promoted", "suppressed")}
    for noise in NOISES:
        if (kind := noise_kind(attack, noise)) in layers:
            scalars[f"sensitivity_{noise}"] = layers[kind]["sensitivity"]
    near = {
        row["near"]: row["change_sd"]
        for row in tables["sensitivity_classes"]
        if row["images"] == attack and row["meaning"] == "class"
    }
    if near:
        scalars |= {f"change_near_{relation}": near[relation] for relation in ("target", "true")}
    claim = [row for row in tables.get("sensitivity_test", []) if row["images"] == attack]
    overall_rows = [row for row in claim if row["category"] == ALL and row["reading"] == READINGS[0]]
    if overall_rows and overall_rows[-1]["effect"] is not None:
        scalars["interpretable_minus_matched"] = overall_rows[-1]["sensitivity"] - overall_rows[-1]["matched"]
        scalars["interpretable_effect"] = overall_rows[-1]["effect"]
    return scalars
