"""The bar that counts images, for whatever looks at many."""

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def image_progress(shown: bool) -> Progress:
    """Return a bar with the images done, all of them, and the time that is left; it vanishes at the end.

    Args:
        shown: draw it.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, transient=True, disable=not shown)
