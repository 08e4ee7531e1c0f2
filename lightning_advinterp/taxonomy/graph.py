"""A hierarchy of classes, and distances between its nodes."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy
from numpy.typing import NDArray

Distances = NDArray[np.float64]
"""``[K, K]``, symmetric, 0 on the diagonal, infinite between nodes that have nothing in common."""


@dataclass(frozen=True)
class Taxonomy:
    """Nodes, each with any number of parents (WordNet's nouns are no tree: a dog is a canine and a pet).

    Attributes:
        parents: node to its parents; a root has none. Every parent is a node itself.
        names: node to a readable name, where it has one.
    """

    parents: Mapping[str, tuple[str, ...]]
    names: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for node, parents in self.parents.items():
            unknown = [parent for parent in parents if parent not in self.parents]
            if unknown:
                raise ValueError(f"taxonomy: {node!r} has the parent {unknown[0]!r}, which is no node itself.")

    def heights(self, node: str) -> dict[str, int]:
        """Return every ancestor of ``node``, itself included, and the fewest edges up to it."""
        heights = {node: 0}
        queue = deque([node])
        while queue:
            current = queue.popleft()
            for parent in self.parents[current]:
                if parent not in heights:
                    heights[parent] = heights[current] + 1
                    queue.append(parent)
        return heights

    def closure(self, nodes: Iterable[str]) -> "Taxonomy":
        """Return the part that consists of ``nodes`` and their ancestors."""
        ancestors = {ancestor for node in nodes for ancestor in self.heights(node)}
        return Taxonomy({node: parents for node, parents in self.parents.items() if node in ancestors}, self.names)


def common_ancestor_distances(taxonomy: Taxonomy, nodes: Sequence[str]) -> Distances:
    """Return the fewest edges up to a common ancestor and down again, as nltk's ``shortest_path_distance``.

    It breaks the triangle inequality where nodes have several parents: a way that goes up, down, and up again
    does not count.

    Args:
        taxonomy: the hierarchy.
        nodes: K of its nodes.
    """
    heights = [taxonomy.heights(node) for node in nodes]
    column = {ancestor: place for place, ancestor in enumerate(dict.fromkeys(a for h in heights for a in h))}
    up = np.full((len(nodes), len(column)), np.inf)
    for row, ancestors in enumerate(heights):
        up[row, [column[ancestor] for ancestor in ancestors]] = list(ancestors.values())
    result = np.empty((len(nodes), len(nodes)))
    for row, ancestors in enumerate(heights):  # a node has about a dozen ancestors: far fewer than all of them
        places = [column[ancestor] for ancestor in ancestors]
        result[row] = (up[:, places] + up[row, places]).min(axis=1)
    return result


def undirected_distances(taxonomy: Taxonomy, nodes: Sequence[str]) -> Distances:
    """Return the shortest path between nodes, up and down in any order.

    Args:
        taxonomy: the hierarchy.
        nodes: K of its nodes.
    """
    neighbours = _without_dead_ends(taxonomy, nodes)
    place = {node: number for number, node in enumerate(neighbours)}
    edges = [(place[node], place[next_node]) for node, next_nodes in neighbours.items() for next_node in next_nodes]
    rows, columns = np.array(edges, dtype=np.int32).reshape(-1, 2).T
    links = np.ones(len(rows)), (rows, columns)
    graph = scipy.sparse.csr_array(links, shape=(len(place), len(place)))
    chosen = [place[node] for node in nodes]
    distances: Distances = scipy.sparse.csgraph.shortest_path(graph, unweighted=True, indices=chosen)  # links both ways
    return distances[:, chosen]


def _without_dead_ends(taxonomy: Taxonomy, nodes: Sequence[str]) -> dict[str, set[str]]:
    """Return the neighbours of every node that a shortest way between two of ``nodes`` may pass.

    A node with one neighbour is passed by none. Most of WordNet's nouns have one, or had, once such are left out:
    6,600 of 82,000 remain for ImageNet's classes.
    """
    neighbours = {node: set(parents) for node, parents in taxonomy.parents.items()}
    for node, parents in taxonomy.parents.items():
        for parent in parents:
            neighbours[parent].add(node)
    keep = set(nodes)
    ends = [node for node, adjacent in neighbours.items() if len(adjacent) <= 1 and node not in keep]
    while ends:
        end = ends.pop()
        for neighbour in neighbours.pop(end) - {end}:
            neighbours[neighbour].discard(end)
            if len(neighbours[neighbour]) == 1 and neighbour not in keep:
                ends.append(neighbour)
    return neighbours


def contract(taxonomy: Taxonomy, nodes: Sequence[str]) -> Taxonomy:
    """Return the hierarchy of ``nodes`` and their ancestors without the steps that tell none of them apart.

    A node with a single child, and not among ``nodes``, is dropped, and its child hangs on its parents.

    Args:
        taxonomy: the hierarchy.
        nodes: what is to be told apart.
    """
    part = taxonomy.closure(nodes)
    keep = set(nodes)
    parents = {node: set(above) for node, above in part.parents.items()}
    children: dict[str, set[str]] = {node: set() for node in parents}
    for node, above in parents.items():
        for parent in above:
            children[parent].add(node)
    queue = deque(parents)
    while queue:
        node = queue.popleft()
        if node in keep or node not in parents or len(children[node]) != 1:
            continue
        (child,) = children.pop(node)
        above = parents.pop(node)
        parents[child] = (parents[child] - {node}) | above
        for parent in above:
            children[parent] = (children[parent] - {node}) | {child}
            queue.append(parent)  # it may have had both: then it has a single child now
    return Taxonomy({node: tuple(sorted(above)) for node, above in parents.items()}, part.names)
