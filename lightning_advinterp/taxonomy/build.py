"""Makes the shipped table anew from nltk's WordNet: ``python -m lightning_advinterp.taxonomy.build WNIDS.txt``.

The file names the classes, one wnid per line. It takes some minutes: one search of all nouns per class.
"""

import csv
import io
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from lightning_advinterp.core.files import write_text
from lightning_advinterp.taxonomy.corpus import all_nouns
from lightning_advinterp.taxonomy.tables import TABLE


def build_table(classes: Sequence[str]) -> str:
    """Return the table of all nouns that decide a distance between ``classes``.

    These are the classes, their hypernyms, and the nouns on one shortest undirected path between every two of them,
    with their hypernyms.

    Args:
        classes: wnids.

    Returns:
        CSV with the columns ``wnid, name, parents, class`` (parents separated by spaces, class 0 or 1), sorted.
    """
    nouns = all_nouns()
    closure = set(nouns.closure(classes).parents)
    neighbours: dict[str, list[str]] = {node: list(parents) for node, parents in nouns.parents.items()}
    for node, parents in nouns.parents.items():
        for parent in parents:
            neighbours[parent].append(node)
    needed = set(closure)
    for source in classes:
        came = _shortest_ways(neighbours, source, closure)
        for target in classes:
            node = target
            while node != source:
                needed.add(node)
                node = came[node]
    table = nouns.closure(sorted(needed))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("wnid", "name", "parents", "class"))
    for node in sorted(table.parents):
        writer.writerow((node, table.names[node], " ".join(table.parents[node]), int(node in classes)))
    return buffer.getvalue()


def _shortest_ways(neighbours: dict[str, list[str]], source: str, preferred: set[str]) -> dict[str, str]:
    """Return for each node the one before it on a shortest way from ``source``, through preferred nodes if it can."""
    came = {source: source}
    cost = {source: (0, 0)}
    queue = deque([source])
    while queue:
        current = queue.popleft()
        step, strange = cost[current][0] + 1, cost[current][1]
        for node in neighbours[current]:
            price = (step, strange + (node not in preferred))
            if node not in cost:
                queue.append(node)
            if node not in cost or price < cost[node]:
                came[node], cost[node] = current, price
    return came


if __name__ == "__main__":
    write_text(Path(__file__).with_name(TABLE), build_table(Path(sys.argv[1]).read_text().split()))
