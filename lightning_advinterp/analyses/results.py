"""The results of an evaluation in Python: by question, with figures, beside those of other networks."""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from functools import partial
from html import escape
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from lightning_advinterp.analyses.base.question import Question
from lightning_advinterp.analyses.registry import QUESTIONS
from lightning_advinterp.core.frames import to_frame
from lightning_advinterp.core.names import printable, untaken
from lightning_advinterp.core.result import Result
from lightning_advinterp.report.load import read_results
from lightning_advinterp.report.page.stored import network_title
from lightning_advinterp.report.save import draw
from lightning_advinterp.report.store import RECORD, read_record

if TYPE_CHECKING:
    from pandas import DataFrame


class Figures(dict[str, Figure]):
    """Figures by name, which a notebook shows one below the other; and each by itself where it is a cell's last line.

    Args:
        figures: by name.
    """

    def __init__(self, figures: Mapping[str, Figure] = MappingProxyType({})) -> None:
        super().__init__(figures)
        for figure in self.values():
            # Matplotlib shows figures of pyplot alone, and only after pyplot was imported.
            setattr(figure, "_repr_png_", partial(_png, figure))  # noqa: B010  # no attribute of the class

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        return "".join(f"<figure><img alt={escape(name)!r} src={_source(self[name])!r}></figure>" for name in self)


class Results(dict[str, Result]):
    """Results by question; a dictionary that knows its folder, and the networks beside this one.

    Args:
        results: by question.
        title: what the network is called.
        folder: where its files are; None where nothing was written.
        beside: results of further networks, by what these are called.

    Attributes:
        title: see above.
        folder: see above.
        networks: results by network, these first.
    """

    def __init__(
        self,
        results: Mapping[str, Result],
        title: str = "",
        folder: Path | None = None,
        beside: Mapping[str, "Results"] | None = None,
    ) -> None:
        super().__init__(results)
        self.title, self.folder = title, folder
        self._beside = dict(beside or {})

    @property
    def networks(self) -> dict[str, "Results"]:
        """Results by network; this one's are the first, if it has any."""
        return ({self.title: self} if self else {}) | self._beside

    @property
    def page(self) -> Path | None:
        """The page that shows all, to be opened in a browser."""
        return None if self.folder is None else self.folder / "index.html"

    def figures(self) -> Figures:
        """Return all figures of this network by name, drawn anew; a notebook shows them."""
        figures = Figures()
        for result in self.values():
            figures.update(result.figures())
        return figures

    def frame(self, table: str) -> "DataFrame":
        """Return a table of all networks as pandas have it; the first column names the network where there are several.

        Args:
            table: its name, as that of its CSV file.

        Raises:
            ValueError: if no network has such a table.
            ImportError: if pandas is not installed.
        """
        networks = self.networks
        rows, names = [], dict[str, None]()
        for title, results in networks.items():
            for result in results.values():
                names |= dict.fromkeys(result.tables)
                head = {"network": title} if len(networks) > 1 else {}
                rows += [head | row for row in result.tables.get(table, [])]
        if table not in names:
            raise ValueError(f"no table {table!r}; there are {', '.join(names) or 'none'}.")
        return to_frame(rows)

    def __repr__(self) -> str:
        return "\n".join(f"{title}: {', '.join(map(repr, each.values()))}" for title, each in self._shown()) or "{}"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the first rows of all tables, and where the page lies."""
        parts = [f"<h3>{escape(printable(title))}</h3>{_tables(results)}" for title, results in self._shown()]
        where = "" if self.page is None else f"<p>The page: <code>{escape(printable(str(self.page)))}</code></p>"
        return "".join(parts) + where

    def _shown(self) -> Iterator[tuple[str, "Results"]]:
        yield from self.networks.items()


def _tables(results: Results) -> str:
    return "".join(result._repr_html_() for result in results.values())


def _png(figure: Figure) -> bytes:
    drawn = BytesIO()
    draw(figure, drawn)
    return drawn.getvalue()


def _source(figure: Figure) -> str:
    return f"data:image/png;base64,{b64encode(_png(figure)).decode()}"


def load_results(folder: str | Path) -> Results:
    """Return what an evaluation wrote, by question: tables, scalars, arrays and figures, for further work.

    Numbers have the digits of the CSV files: six, where a column declares nothing else. A missing value is None.
    Networks that it was compared with, or the rows of a table, are in ``networks``.

    Args:
        folder: ``output`` of an evaluation, or the folder of one of its networks below it.

    Raises:
        FileNotFoundError: if the folder holds no evaluation.
        DamagedFileError: if it was written by a version that did not list its results, or if a file is missing or is
            not what was written.
    """
    return results_of(Path(folder))


def results_of(folder: Path, questions: Mapping[str, Question] | None = None) -> Results:
    """Return what an evaluation wrote, see :func:`load_results`.

    Args:
        folder: of the evaluation.
        questions: that draw its figures, by name; by default those of the package with the recorded settings.
    """
    record = read_record(folder) or {}
    names = [name for name in record.get("folders") or () if isinstance(name, str) and Path(name).name == name]
    title = network_title(record, folder.absolute().name)
    # The record of a table of networks has no numbers of its own.
    of_table = bool(names) and "scalars" not in record
    results = {} if of_table else read_results(folder)
    settings = (record.get("provenance") or {}).get("settings") or {}
    drawn = {}
    for name, result in results.items():
        question = (questions or {}).get(name) or _recorded(name, settings)
        drawn[name] = result if question is None else replace(result, drawing=partial(_figures, question, title))
    beside: dict[str, Results] = {}
    for name in names:
        if not (folder / name / RECORD).is_file():  # an absent row, or what a copy was once compared with
            continue
        each = results_of(folder / name, questions)
        each.title = untaken(name if of_table else each.title, {title, *beside} if drawn else set(beside))
        beside[each.title] = each
    return Results(drawn, title, folder, beside)


def _figures(question: Question, title: str, result: Result) -> Figures:
    return Figures(question.figures(result, title))


def _recorded(name: str, settings: Mapping[str, object]) -> Question | None:
    """Return a question of the package as it was asked; figures read plain settings alone."""
    kind = QUESTIONS.get(name)
    if kind is None:
        return None
    recorded: Any = settings.get(name)
    simple = (str, int, float, bool, tuple, list)
    stored = recorded if isinstance(recorded, dict) else {}
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]  # every question is a dataclass
    return kind(**{key: value for key, value in stored.items() if key in names and isinstance(value, simple)})
