"""Plain sentences of what was traced."""

from collections.abc import Sequence

from lightning_advinterp.core.result import Row

_NAMED = 3
"""So many units are named in a sentence."""
NOTHING = 0.001
"""A change of a probability that counts as none: 0.1 points."""
_FEW = 1 / 3
"""A floor of LC above which there are fewer than three top images: too few to say of which class they are."""
_NUMBERS = {1: "the strongest", 2: "the two strongest", 3: "the three strongest", 4: "the four strongest"}
_NUMBERS |= {5: "the five strongest"}


def percent(share: float) -> str:
    """Return a probability for people: 0 % and 100 % only where six digits, which are stored, say so."""
    if 0 < share < 0.001:
        return "<\u00a00.1\u00a0%"
    if share > 0.999:
        return "100\u00a0%" if share > 1 - 5e-7 else ">\u00a099.9\u00a0%"
    return f"{100 * share:.1f}\u00a0%" if share < 0.1 or share > 0.95 else f"{100 * share:.0f}\u00a0%"


def sentence(
    page: Row, rows: Sequence[Row], removed: Sequence[Row], real: Row | None = None, switched: Sequence[Row] = ()
) -> str:
    """Return what made a prediction.

    Args:
        page: of the table ``tracing_pages``.
        rows: of the table ``tracing``, of this image and kind.
        removed: of ``tracing_removed``, likewise.
        real: the page's row of the real image, where this one is attacked.
        switched: of ``tracing_switched``.
    """
    predicted = f"{page['predicted_name']} ({percent(page['confidence'])})"
    if real is None:
        text = f"Read as {predicted}{_verdict(page)}"
    elif real["predicted"] == page["predicted"]:
        text = f"The attack leaves it at {predicted}"
    else:
        text = f"The attack turns {real['predicted_name']} into {predicted}"
    positive_rows = [row for row in rows if row["class"] == "predicted" and (row["difference"] or 0) > 0]
    if not positive_rows:
        return f"{text}; no unit of {page['layer']} alone speaks for it."
    units = f"{_units(positive_rows[:_NAMED])} of {page['layer']}{_meaning(positive_rows[:_NAMED])}"
    if page["form"] == "probability" and positive_rows[0]["difference"] < NOTHING:
        text += f". No unit alone makes a difference of 0.1 points; most speak {units}."
    else:
        text += f" because of {units}."
    return text + _without(page, removed) + _switched(switched)


def _verdict(page: Row) -> str:
    if page["label"] is None:
        return ""
    return ", rightly," if page["label"] == page["predicted"] else f", wrongly (it is labelled {page['label_name']}),"


def _units(rows: Sequence[Row]) -> str:
    numbers = [str(row["unit"]) for row in rows]
    return f"unit {numbers[0]}" if len(numbers) == 1 else f"units {_listed(numbers)}"


def _meaning(rows: Sequence[Row]) -> str:
    modal_rows = [row for row in rows if row["mode_class"] is not None and not too_few(row)]
    meanings = _classes(modal_rows)
    if meanings:
        return f", driven most by images of {_listed(meanings)}"
    return ", driven most by images of many classes" if modal_rows else ""


def _classes(rows: Sequence[Row]) -> list[str]:
    """Return the modal classes of units that have one, each once."""
    return list(dict.fromkeys(str(row["mode_class"]) for row in rows if of_one_class(row)))


def of_one_class(row: Row) -> bool:
    """Whether a unit's modal class says something: its LC is above twice the floor.

    At the floor all top images are of different classes, and the modal one is the first of them.
    """
    has_class = row["mode_class"] is not None and row["lc"] is not None
    return bool(has_class and not too_few(row) and row["lc"] > 2 * row["floor"])


def too_few(row: Row) -> bool:
    """Whether there are too few images for a unit to have a meaning."""
    return bool(row["floor"] is not None and row["floor"] > _FEW)


def _without(page: Row, removed: Sequence[Row]) -> str:
    rows = [row for row in removed if row["class"] == "predicted" and row["which"] == "named"]
    if not rows:
        return ""
    last = rows[-1]
    which = _NUMBERS.get(last["count"], f"the {last['count']} strongest")
    still = "still " if last["predicted"] == page["predicted"] else ""
    return f" Without {which} it is {still}read as {last['predicted_name']} ({percent(last['predicted_probability'])})."


def _switched(rows: Sequence[Row]) -> str:
    raised, lowered = (_classes([row for row in rows if row["switch"] == switch])[:_NAMED] for switch in ("on", "off"))
    parts = [f"raises units of {_listed(raised)}"] if raised else []
    parts += [f"lowers units of {_listed(lowered)}"] if lowered else []
    return f" It {' and '.join(parts)}." if parts else ""


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def column_heading(page: Row, which: str, class_name: str) -> str:
    """Return what stands above the units that speak for a class."""
    if which == "predicted":
        wrong = page["label"] is not None and page["label"] != page["predicted"]
        return f"For {class_name}, which it is not" if wrong else f"For {class_name}"
    return f"For {class_name}, which it is" if which == "true" else f"For {class_name}"


def units_with_meaning(row: Row) -> str:
    """Return what a unit means, as far as that is known: modal class and concept."""
    parts = []
    if row["mode_class"] is not None and not too_few(row):
        parts.append(f"mostly {row['mode_class']}" if of_one_class(row) else "images of many classes")
    if row["label"] is not None:
        iou = "" if row["iou"] is None else f", IoU {row['iou']:.2f}"
        category = f" ({row['category']}{iou})" if row.get("category") else ""
        parts.append(f"concept {row['label']}{category}")
    return "; ".join(parts)
