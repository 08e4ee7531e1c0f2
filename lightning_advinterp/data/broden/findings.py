"""What is wrong with a set in Broden's format: every finding with its file, row and column, all told at once."""

from dataclasses import dataclass

HELP = (
    "Broden 1.0 comes from the project page of Network Dissection (Bau et al., 2017): in a checkout of "
    "CSAILVision/NetDissect, script/dlbroden.sh fetches broden1_224, broden1_227 and broden1_384 (the folder that "
    "holds index.csv is the one to name here). Where its server is down, script/makebroden.sh of the same project "
    "joins the set from its sources (ADE20K, Pascal-Context, Pascal-Part, OpenSurfaces, DTD); or build a set of your "
    "own images and masks with 'python -m lightning_advinterp.data.broden build --help'; or use the rendered concept "
    "world, which needs no download."
)
"""How to come by a set, for error messages and help texts."""

SHOWN = 20
"""Findings that a message lists in full; it gives the number of the others."""

_KEPT = 1000


def unusable(root: object) -> str:
    """Return how the message about a set with findings begins."""
    return f"{str(root)!r} cannot be used as a set in Broden's format"


class BrodenError(ValueError):
    """A set that is not in Broden's format, or is damaged.

    Attributes:
        findings: what is wrong, at most the first thousand.
        count: how many findings there are.
    """

    def __init__(self, message: str, findings: tuple["Finding", ...] = (), count: int = 0) -> None:
        super().__init__(message)
        self.findings, self.count = findings, count


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        file: path relative to the set's folder.
        row: line of the file as an editor numbers it (the header is 1); None: the file as a whole.
        column: name of the column; None: the row as a whole.
        message: what is wrong, what was expected, what to do.
    """

    file: str
    row: int | None
    column: str | None
    message: str

    def __str__(self) -> str:
        row = "" if self.row is None else f", row {self.row}"
        column = "" if self.column is None else f", column {self.column}"
        return f"{self.file}{row}{column}: {self.message}"


class Findings:
    """A list that grows while a set is read; the first thousand are kept, all are counted."""

    def __init__(self) -> None:
        self.items: list[Finding] = []
        self.count = 0

    def add(self, file: str, row: int | None, column: str | None, message: str) -> None:
        """Note one finding; the arguments are those of :class:`Finding`."""
        self.count += 1
        if len(self.items) < _KEPT:
            self.items.append(Finding(file, row, column, message))

    def check(self, verdict: str) -> None:
        """Raise one error that lists the findings, if there are any.

        Args:
            verdict: what they mean, as the beginning of the message.

        Raises:
            BrodenError: with the first findings in its message.
        """
        if not self.count:
            return
        plural = "finding" if self.count == 1 else "findings"
        lines = [f"{verdict}: {self.count} {plural}"]
        lines += [f"  {finding}" for finding in self.items[:SHOWN]]
        if self.count > SHOWN:
            lines.append(f"  … and {self.count - SHOWN} more")
        raise BrodenError("\n".join(lines), tuple(self.items), self.count)
