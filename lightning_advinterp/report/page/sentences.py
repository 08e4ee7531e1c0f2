"""What an evaluation says, in words: every sentence holds its numbers, and names the table that they stand in."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from lightning_advinterp.core.result import REAL
from lightning_advinterp.report.page.stored import StoredEvaluation, TextRow, number
from lightning_advinterp.report.table import condition, percent


class Sentence(NamedTuple):
    """A sentence of the first screen.

    Attributes:
        text: plain text.
        table: whose numbers it has.
    """

    text: str
    table: str


def findings(evaluation: StoredEvaluation) -> list[Sentence]:
    """Return what an evaluation says, analysis by analysis; an analysis that was not asked says nothing."""
    sentences: list[Sentence] = []
    for say in (_accuracy, _dissection, _retention, _semantics, _distances, _fragility, _influence, _sensitivity):
        sentences += say(evaluation)
    for say in (_detection, _promotion, _tracing, _curvature):
        sentences += say(evaluation)
    return sentences


def kind_of(row: TextRow) -> str:
    """Return the kind of images of a row: ``real``, or the attack with its radius."""
    name = {"images": row.get("images") or row.get("attack") or ""}
    return condition({**name, "eps": number(row, "eps"), "norm": row.get("norm"), "eps_low": number(row, "eps_low")})


def share(row: TextRow, column: str, interval: bool = True) -> str:
    """Return a share of a row in per cent, with its 95 % interval where it has one."""
    low, high = (number(row, f"{column}_{end}") if interval else None for end in ("low", "high"))
    return f"{percent(number(row, column), low, high).replace(' [', ' % [')}{'' if low is not None else ' %'}"


def value(row: TextRow, column: str) -> str:
    """Return a number of a row to three digits, with its 95 % interval where it has one."""
    middle, low, high = (number(row, name) for name in (column, f"{column}_low", f"{column}_high"))
    if middle is None:
        return "–"
    return f"{middle:.3g}" if low is None or high is None else f"{middle:.3g} [{low:.3g}, {high:.3g}]"


def all_layers(rows: Iterable[TextRow]) -> list[TextRow]:
    """Return the rows of all layers together; of the last layer where no row says ``all``."""
    listed = list(rows)
    layers = list(dict.fromkeys(row["layer"] for row in listed))
    chosen = "all" if "all" in layers else layers[-1] if layers else None
    return [row for row in listed if row["layer"] == chosen]


def layer_words(layer: str) -> str:
    """Return how a sentence names a layer."""
    return "all layers together" if layer == "all" else layer


def images_of(row: TextRow) -> str:
    """Return how a sentence names the images of a row: real ones, or those under an attack."""
    kind = kind_of(row)
    return "real images" if kind == REAL else f"images under {kind}"


def real_detectors(evaluation: StoredEvaluation) -> list[TextRow]:
    """Return the rows of all layers and categories together that say how many units detect a concept."""
    rows = evaluation.rows("dissection_summary", "layer", "images", "category", "ratio", "units")
    return [row for row in all_layers(rows) if row["category"] == "all"]


def _accuracy(evaluation: StoredEvaluation) -> list[Sentence]:
    return [
        Sentence(f"The network is right on {share(row, 'top1')} of {row['n']} {images_of(row)}.", "accuracy")
        for row in evaluation.rows("accuracy", "images", "n", "top1", "eps")
    ]


def _dissection(evaluation: StoredEvaluation) -> list[Sentence]:
    return [
        Sentence(
            f"On {images_of(row)}, {share(row, 'ratio')} of the {row['units']} units of "
            f"{layer_words(row['layer'])} detect a concept.",
            "dissection_summary",
        )
        for row in real_detectors(evaluation)
    ]


def _retention(evaluation: StoredEvaluation) -> list[Sentence]:
    rows = evaluation.rows("dissection_retention_summary", "layer", "images", "change", "same_concept", "detectors")
    by_kind: dict[str, dict[str, TextRow]] = {}
    for row in all_layers(rows):
        by_kind.setdefault(row["images"], {})[row["change"]] = row
    halves = next((kinds["split_half"] for kinds in by_kind.values() if "split_half" in kinds), None)
    sentences = []
    for kinds in by_kind.values():
        if "attack" not in kinds:
            continue
        row = kinds["attack"]
        text = f"Of the {row['detectors']} units that detect a concept on real images, {share(row, 'same_concept')}"
        text += f" detect the same one on the same images under {kind_of(row)}."
        if "noise" in kinds:
            text += f" Under random noise as large, {share(kinds['noise'], 'same_concept')} do."
        if halves is not None:
            text += (
                f" Of the detectors on one half of the real images, {share(halves, 'same_concept')} do on the other."
            )
        sentences.append(Sentence(text, "dissection_retention_summary"))
    return sentences


def _semantics(evaluation: StoredEvaluation) -> list[Sentence]:
    rows = all_layers(evaluation.rows("semantics_layers", "layer", "images", "lc"))
    sentences = []
    for row in rows:
        where = f"the units of {layer_words(row['layer'])}"
        if row["images"] == REAL:
            text = "How far one class rules the real images that drive a unit most, LC from 0 to 1, is "
            text += f"{value(row, 'lc')} on average over {where}; by chance it is {value(row, 'chance_lc')}."
        else:
            text = f"Under {kind_of(row)}, the images that drive a unit most are of the same classes as before to "
            text += f"CS1 = {value(row, 'cs1')} (1: the same; by chance {value(row, 'chance_cs1')}"
            text += f"; two halves of the real images {value(row, 'cs_halves')}). " if row.get("cs_halves") else "). "
            text += "The classes that they are aimed at, or else taken for, are those that drove it before to CS2 = "
            text += f"{value(row, 'cs2')} (by chance {value(row, 'chance_cs2')}). Both are means over {where}."
        sentences.append(Sentence(text, "semantics_layers"))
    return sentences


def _distances(evaluation: StoredEvaluation) -> list[Sentence]:
    sentences = []
    for row in evaluation.rows("distances", "images", "ratio", "median", "share_above_one", "n"):
        beginning = f"In feature space, an image under {kind_of(row)} lies {value(row, 'median')} times as far from"
        if row["ratio"] == "r_src":
            text = f"{beginning} its real version as this lies from images of its class (median of {row['n']}); it "
            text += "lies farther than these for"
        elif row["ratio"] == "r_tgt":
            text = f"{beginning} images of its target (or else predicted) class as from those of its true class "
            text += f"(median of {row['n']}); it lies nearer to the true class for"
        else:
            continue
        sentences.append(Sentence(f"{text} {share(row, 'share_above_one')} ({row['ratio']}).", "distances"))
    return sentences


def _widest(rows: Iterable[TextRow], *keys: str) -> list[TextRow]:
    """Return the row of the largest radius for each combination of some columns."""
    widest: dict[tuple[str, ...], TextRow] = {}
    for row in rows:
        key = tuple(row[name] for name in keys)
        if key not in widest or (number(row, "eps") or 0) >= (number(widest[key], "eps") or 0):
            widest[key] = row
    return list(widest.values())


def _fragility(evaluation: StoredEvaluation) -> list[Sentence]:
    rows = evaluation.rows("fragility_summary", "method", "attack", "eps", "spearman", "n")
    return [
        Sentence(
            f"{_explanation_change(row)} the class and changes the {row['method']} maps of "
            f"{row['n']} images: their rank correlation with the maps before is {value(row, 'spearman')} (1: "
            f"unchanged). That of two different images' maps is {value(row, 'spearman_other')}.",
            "fragility_summary",
        )
        for row in _widest(rows, "method", "attack")
        if number(row, "spearman") is not None
    ]


def _explanation_change(row: TextRow) -> str:
    """Return the beginning of a sentence: what changed the maps. Random signs are the control, and no attack."""
    if row["attack"].startswith("random_sign"):
        return f"The control, {kind_of(row)}, which is no attack, keeps"
    return f"An attack on explanations, {kind_of(row)}, keeps"


def _influence(evaluation: StoredEvaluation) -> list[Sentence]:
    return [
        Sentence(
            f"Of the training images on which a prediction rests most, {share(row, 'overlap')} are among them still "
            f"after {kind_of(row)} (median of {row['n']} images).",
            "influence_summary",
        )
        for row in evaluation.rows("influence_summary", "attack", "eps", "overlap", "n")
    ]


def _sensitivity(evaluation: StoredEvaluation) -> list[Sentence]:
    rows = all_layers(evaluation.rows("sensitivity_layers", "layer", "images", "sensitivity", "n"))
    beside: dict[str, list[str]] = {}
    for row in rows:
        attack, _, noise = row["images"].partition("~")
        if noise:
            beside.setdefault(attack, []).append(f"{value(row, 'sensitivity')} ({noise})")
    sentences = []
    for row in rows:
        if "~" not in row["images"]:
            text = f"{kind_of(row)} moves the {row['units']} units of {layer_words(row['layer'])} by "
            text += f"{value(row, 'sensitivity')} of their standard deviations on average ({row['n']} images)"
            moved = beside.get(row["images"], [])
            text += f"; noise as large moves them by {' and '.join(moved)}." if moved else "."
            sentences.append(Sentence(text, "sensitivity_layers"))
    return sentences


def _detection(evaluation: StoredEvaluation) -> list[Sentence]:
    rows = evaluation.rows("detection", "score", "images", "auroc", "evaded")
    best: dict[str, TextRow] = {}
    for row in rows:
        if number(row, "auroc") is not None:
            before = best.setdefault(row["images"], row)
            best[row["images"]] = max(before, row, key=lambda row: number(row, "auroc") or 0)
    return [
        Sentence(
            f"The score {row['score']} tells {images_of(row)} from real ones best: AUROC {value(row, 'auroc')} (0.5: "
            f"guessing). {share(row, 'evaded')} of the attacks change the class and raise no alarm.",
            "detection",
        )
        for row in best.values()
    ]


def _promotion(evaluation: StoredEvaluation) -> list[Sentence]:
    rows = evaluation.rows("promotion_summary", "images", "effect", "logits", "xi", "threshold", "type", "share")
    first: dict[str, TextRow] = {}
    shares: dict[str, list[str]] = {}
    form = ("effect", "logits", "xi", "threshold")
    for row in rows:
        head = first.setdefault(row["images"], row)
        if all(row[name] == head[name] for name in form) and row["type"] in ("promotion", "suppression", "balanced"):
            shares.setdefault(row["images"], []).append(f"{row['type']} {share(row, 'share')}")
    return [
        Sentence(
            f"Of the cells of the perturbation by {kind_of(first[images])}: {', '.join(parts)} (promotion: it raises "
            "the class aimed at; suppression: it lowers the true class; balanced: both). Effects are those of "
            f"'{first[images]['effect']}' on {first[images]['logits']} logits; other forms give other shares.",
            "promotion_summary",
        )
        for images, parts in shares.items()
    ]


def _tracing(evaluation: StoredEvaluation) -> list[Sentence]:
    return [
        Sentence(
            f"Of {row['n']} {row['group']} predictions on {images_of(row)}, {share(row, 'near')} rest mostly on units "
            "whose meaning is near the predicted class.",
            "tracing_summary",
        )
        for row in evaluation.rows("tracing_summary", "images", "group", "n", "near")
        if number(row, "near") is not None
    ]


def _curvature(evaluation: StoredEvaluation) -> list[Sentence]:
    shown: dict[str, Callable[[TextRow], str]] = {
        "lambda_max": lambda row: (
            f"The largest eigenvalue of the class score's Hessian, which says how strongly the score bends, is "
            f"{value(row, 'median')} (median of {row['n']} images)."
        ),
        "cos2_times_dimension": lambda row: (
            f"The direction in which it bends most has {value(row, 'median')} times the squared cosine with the "
            f"gradient that a random direction has (median of {row['n']} images)."
        ),
    }
    return [
        Sentence(shown[row["measure"]](row), "curvature_summary")
        for row in evaluation.rows("curvature_summary", "measure", "median", "n")
        if row["measure"] in shown
    ]
