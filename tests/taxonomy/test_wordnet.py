"""Distances against nltk, literal searches and hand-worked hierarchies; the similarity matrix C."""

import random
import time

import numpy as np
import pytest
import torch

from lightning_advinterp.data.cifar_classes import CLASS_NAMES, WNIDS
from lightning_advinterp.data.concept_world.classes import CLASSES
from lightning_advinterp.data.imagenet_classes import imagenet_classes
from lightning_advinterp.taxonomy import corpus
from lightning_advinterp.taxonomy.build import build_table
from lightning_advinterp.taxonomy.graph import Taxonomy, common_ancestor_distances, contract, undirected_distances
from lightning_advinterp.taxonomy.tables import shipped_classes, shipped_taxonomy
from lightning_advinterp.taxonomy.wordnet import (
    UnconfirmedGuess,
    class_distances,
    class_similarity,
    guess_synsets,
    resolve_classes,
)

IMAGENET = [entry.wnid for entry in imagenet_classes()]
PETS = Taxonomy(
    {
        "entity": (),
        "animal": ("entity",),
        "canine": ("animal",),
        "feline": ("animal",),
        "pet": ("entity",),
        "dog": ("canine", "pet"),
        "wolf": ("canine",),
        "cat": ("feline", "pet"),
        "rock": ("pet",),
        "stone": (),
    }
)


@pytest.fixture(scope="module")
def wordnet(real_data):
    """nltk's WordNet; it is asked for by path, since NLTK_DATA is read when nltk is imported first."""
    import nltk

    folder = str(real_data / "nltk_data")
    nltk.data.path.insert(0, folder)
    yield corpus.corpus()
    nltk.data.path.remove(folder)


def test_by_hand():
    nodes = ["dog", "wolf", "cat", "rock", "stone"]
    inf = float("inf")
    up_and_down = [[0, 2, 2, 2, inf], [2, 0, 4, 5, inf], [2, 4, 0, 2, inf], [2, 5, 2, 0, inf], [inf] * 4 + [0]]
    assert common_ancestor_distances(PETS, nodes).tolist() == up_and_down
    crossing = [[0, 2, 2, 2, inf], [2, 0, 4, 4, inf], [2, 4, 0, 2, inf], [2, 4, 2, 0, inf], [inf] * 4 + [0]]
    assert undirected_distances(PETS, nodes).tolist() == crossing, "wolf, canine, dog, pet, rock"


def test_contraction_by_hand():
    # feline has one child, and so has, without it, nothing else: canine, pet and animal tell classes apart.
    tree = contract(PETS, ["dog", "wolf", "cat", "rock"])
    assert tree.parents == {
        "entity": (),
        "animal": ("entity",),
        "canine": ("animal",),
        "pet": ("entity",),
        "dog": ("canine", "pet"),
        "wolf": ("canine",),
        "cat": ("animal", "pet"),
        "rock": ("pet",),
    }
    # Of dog and wolf alone only canine is left, with what lies above the dog by another way.
    assert contract(PETS, ["dog", "wolf"]).parents["wolf"] == ("canine",)
    assert common_ancestor_distances(contract(PETS, ["dog", "wolf"]), ["dog", "wolf"])[0, 1] == 2
    chain = Taxonomy({"a": (), "b": ("a",), "c": ("b",), "d": ("c",), "e": ("a",)})
    assert contract(chain, ["b", "d", "e"]).parents == {"a": (), "b": ("a",), "d": ("b",), "e": ("a",)}


@pytest.mark.parametrize("seed", range(5))
def test_contraction_leaves_no_idle_node(seed):
    generator = random.Random(seed)
    names = [f"n{i}" for i in range(40)]
    parents = {
        name: tuple(generator.sample(names[:i], min(i, generator.choice([1, 1, 2])))) for i, name in enumerate(names)
    }
    classes = generator.sample(names, 8)
    tree = contract(Taxonomy(parents), classes)
    children = {node: [child for child, above in tree.parents.items() if node in above] for node in tree.parents}
    assert all(node in classes or len(children[node]) > 1 for node in tree.parents)
    full, short = (common_ancestor_distances(taxonomy, classes) for taxonomy in (Taxonomy(parents), tree))
    assert (short <= full).all()
    assert ((short == 0) == (full == 0)).all()
    assert (np.isinf(short) == np.isinf(full)).all()


def literal_distance(parents, a, b):
    """Every way up, by recursion."""

    def ways_up(node):
        yield node, 0
        for parent in parents[node]:
            for above, steps in ways_up(parent):
                yield above, steps + 1

    return min(
        (up + down for above, up in ways_up(a) for ancestor, down in ways_up(b) if above == ancestor),
        default=float("inf"),
    )


def test_shipped_table_against_a_literal_search():
    parents, nodes = shipped_taxonomy().parents, random.Random(0).sample(IMAGENET, 25)
    distances = class_distances(nodes)
    for i, a in enumerate(nodes):
        assert distances[i].tolist() == [literal_distance(parents, a, b) for b in nodes]


@pytest.mark.parametrize("tree", ["nltk", "undirected", "contracted"])
def test_thousand_classes_within_a_second(tree):
    shipped_taxonomy()
    started = time.process_time()
    distances = class_distances(IMAGENET, tree)
    assert time.process_time() - started < 1
    assert torch.equal(distances, distances.T)
    assert ((distances == 0) == torch.eye(1000, dtype=torch.bool)).all()
    car, truck = (IMAGENET.index(w) for w in ("n02123045", "n02123394"))  # tabby, Persian cat
    assert distances[car, truck] == 2


def test_classes_that_need_no_corpus():
    assert shipped_classes() == {*IMAGENET, *WNIDS, *(entry.wnid for entry in CLASSES)}
    distances = class_distances(WNIDS)
    where = CLASS_NAMES.index
    assert distances[where("automobile"), where("truck")] == 2
    assert distances[where("cat"), where("dog")] == 4
    world = {entry.name: place for place, entry in enumerate(CLASSES)}
    world_distances = class_distances([entry.wnid for entry in CLASSES])
    for name, edges in [("cat", 4), ("bird", 5), ("fish", 6), ("flower", 8), ("car", 12)]:  # concept_world/classes.py
        assert world_distances[world["dog"], world[name]] == edges


@pytest.mark.real
@pytest.mark.slow
def test_random_pairs_against_nltk(wordnet):
    generator = random.Random(1)
    outside = [wnid for wnid in ("n02430045", "n07739125", "n04576211", "n09917593", "n11808468")]
    nodes = generator.sample(IMAGENET, 30) + outside  # apple, wheeled vehicle, child, orchid: not all are in the table
    assert not set(outside) <= set(shipped_taxonomy().parents)
    synsets = [corpus.synset(wnid) for wnid in nodes]
    expected = [[a.shortest_path_distance(b) for b in synsets] for a in synsets]
    assert class_distances(nodes).tolist() == expected


@pytest.mark.real
@pytest.mark.slow
def test_every_imagenet_pair_against_nltk(wordnet):
    synsets = [corpus.synset(wnid) for wnid in IMAGENET]
    distances = class_distances(IMAGENET).tolist()
    ways = {synset: synset._shortest_hypernym_paths(False) for synset in synsets}
    for synset in synsets:  # nltk computes the ways up anew for every pair
        synset._shortest_hypernym_paths = lambda simulate_root, synset=synset: ways[synset]
    for i, a in enumerate(synsets):
        assert distances[i][: i + 1] == [a.shortest_path_distance(b) for b in synsets[: i + 1]]


@pytest.mark.parametrize("seed", range(5))
def test_undirected_distances_equal_a_literal_search(seed):
    """In random hierarchies with nodes of many parents, dead ends and parts that do not meet."""
    draw = random.Random(seed)
    above = {number: draw.sample(range(number), min(number, draw.choice([0, 1, 1, 1, 2, 3]))) for number in range(60)}
    taxonomy = Taxonomy({str(number): tuple(map(str, parents)) for number, parents in above.items()})
    nodes = draw.sample(list(taxonomy.parents), 12)
    neighbours = {node: set(parents) for node, parents in taxonomy.parents.items()}
    for node, parents in taxonomy.parents.items():
        for parent in parents:
            neighbours[parent].add(node)
    for row, source in zip(undirected_distances(taxonomy, nodes), nodes, strict=True):
        reached, steps = {source: 0.0}, [source]
        for node in steps:
            new = neighbours[node] - reached.keys()
            reached |= dict.fromkeys(new, reached[node] + 1)
            steps += new
        assert row.tolist() == [reached.get(node, float("inf")) for node in nodes]


@pytest.mark.real
def test_nouns_of_the_file_are_those_of_nltk(wordnet):
    nouns = corpus.all_nouns()
    assert len(nouns.parents) == len(nouns.names) == 82_115
    few = corpus.nouns_above(random.Random(0).sample(list(nouns.parents), 500))
    instance = "n09044862"  # the United States: an instance of a country, a part of North America
    few = corpus.nouns_above([*few.parents, instance])
    assert all(
        nouns.parents[wnid] == parents and nouns.names[wnid] == few.names[wnid] for wnid, parents in few.parents.items()
    )


@pytest.mark.real
@pytest.mark.slow
def test_undirected_distances_equal_those_in_all_nouns(wordnet):
    classes = sorted(shipped_classes())
    expected = undirected_distances(corpus.all_nouns(), classes)
    assert np.array_equal(class_distances(classes, "undirected").numpy(), expected)
    differ = (class_distances(IMAGENET) != class_distances(IMAGENET, "undirected")).double().mean() * 1000 / 999
    assert float(differ) == pytest.approx(0.247, abs=5e-4)  # SPEC 5.1


@pytest.mark.real
@pytest.mark.slow
def test_shipped_table_is_what_its_builder_makes(wordnet):
    """Of few classes, since all take minutes; what it says of each noun is in the shipped table."""
    few = ["n02123394", "n02090721", "n02958343"]
    for line in build_table(few).splitlines()[1:]:
        wnid, name, parents, _ = line.split(",")
        assert shipped_taxonomy().parents[wnid] == tuple(parents.split())
        assert shipped_taxonomy().names[wnid] == name
    nouns = corpus.all_nouns()
    assert all(nouns.parents[wnid] == parents for wnid, parents in shipped_taxonomy().parents.items())


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "bird"),
    [
        ("crane", "n02012849"),
        ("jay", "n01580077"),
        ("swift", "n01832167"),
        ("wren", "n01584225"),
        ("martin", "n01595624"),
        ("drake", "n01847000"),
        ("turkey", "n01794158"),
        ("Swift", "n01832167"),
    ],
)
def test_kinds_of_things_come_before_people(wordnet, name, bird):
    (guess,) = guess_synsets([name])
    assert bird in str(guess)  # whatever is guessed, the bird is offered
    kinds = [
        not wordnet.synset_from_pos_and_offset("n", int(sense.wnid[1:])).instance_hypernyms() for sense in guess.senses
    ]
    assert kinds == sorted(kinds, reverse=True)
    assert len(guess.senses) == len(wordnet.synsets(name, pos="n"))
    assert name in ("crane",) or guess.senses[0].wnid == bird


@pytest.mark.real
@pytest.mark.parametrize(
    "name", ["polar_bear", "Polar-Bear", "012.Polar_bear", "polar.bear", "PolarBear", " polar bear "]
)
def test_names_in_other_spellings(wordnet, name):
    assert resolve_classes([name], accept_guesses=True) == ["n02134084"]


@pytest.mark.parametrize("name", ["N02012849", "n02012849_crane", "crane (n02012849)"])
def test_a_wnid_inside_a_name_is_used(name):
    assert resolve_classes([name, "n02084071"]) == ["n02012849", "n02084071"]
    assert resolve_classes([name], wnids={name: "n03126707"}) == ["n03126707"]


@pytest.mark.real
def test_names_are_guessed_and_never_silently_used(wordnet, caplog):
    with pytest.raises(UnconfirmedGuess, match=r"'dog': n02084071, a member of the genus Canis") as caught:
        resolve_classes(["n02123394", "dog", "crane"])
    assert [guess.name for guess in caught.value.guesses] == ["dog", "crane"]
    assert resolve_classes(["dog"], wnids={"dog": "n02084071"}) == ["n02084071"]
    assert resolve_classes(["polar bear", "dog"], accept_guesses=True) == ["n02134084", "n02084071"]
    assert "polar bear" in caplog.text
    with pytest.raises(UnconfirmedGuess, match="'blorp': not in WordNet"):
        resolve_classes(["blorp"], accept_guesses=True)
    with pytest.raises(ValueError, match=r"must be a noun of WordNet 3\.0"):
        class_distances(["n00000001", "n02123394"])


def test_without_a_corpus_the_message_says_how_to_get_it(monkeypatch):
    import nltk.corpus

    class Missing:
        """In place of nltk's reader, which loads at the first touch and may be loaded already."""

        def ensure_loaded(self):
            raise LookupError("Resource wordnet not found")

    monkeypatch.setattr(nltk.corpus, "wordnet", Missing())
    corpus.corpus.cache_clear()
    with pytest.raises(LookupError, match=r"python -m nltk\.downloader wordnet"):
        class_distances(["n00000001"])
    corpus.corpus.cache_clear()


def test_own_hierarchies(tmp_path):
    links = tmp_path / "links.csv"
    links.write_text("child,parent\nred,warm\norange,warm\nwarm,colour\nblue,colour\n")
    expected = [[0, 2, 3], [2, 0, 3], [3, 3, 0]]
    assert class_distances(["red", "orange", "blue"], hierarchy=links).tolist() == expected
    assert class_distances(["red", "blue"], "contracted", hierarchy=links).tolist() == [[0, 2], [2, 0]]
    links.write_text('"child", "parent"\n"red","warm"\n"orange","warm"\n"warm","colour"\n"blue","colour"\n')
    assert class_distances(["red", "orange", "blue"], hierarchy=links).tolist() == expected, "quoted, with spaces"
    matrix = tmp_path / "matrix.csv"
    matrix.write_text("class,blue,red\nred,3,0\nblue,0,3\n")
    assert class_distances(["red", "blue"], hierarchy=matrix).tolist() == [[0, 3], [3, 0]]
    np.save(tmp_path / "matrix.npy", np.array(expected))
    assert class_distances(["a", "b", "c"], hierarchy=tmp_path / "matrix.npy").tolist() == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("child,parent\na,b\nb,a\n", "run in a circle"),
        ("child,parent\nred,warm\n", "has no node for 1 classes, among them 'blue'"),
        ("child,parent\n,warm\n", "line 2: a link needs a child"),
        ("class,red\nred,0\n", "needs a row and a column for every class, misses 'blue'"),
        ("class,red,blue\nred,0,1\nblue,2,0\n", "symmetric, 0 on the diagonal"),
        ("class,red,blue\nred,0\nblue,2,0\n", "distance of 'red' and 'blue' must be a number, got nothing"),
        ("class,red,blue\nred,0,far\nblue,2,0\n", "distance of 'red' and 'blue' must be a number, got 'far'"),
        ("", "needs a row and a column for every class, misses 'red'"),
    ],
)
def test_wrong_hierarchies_are_refused(tmp_path, text, message):
    (tmp_path / "own.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        class_distances(["red", "blue"], hierarchy=tmp_path / "own.csv")


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="tree must be nltk, undirected or contracted, got 'tree'"):
        class_distances(["n02123394"], "tree")
    with pytest.raises(ValueError, match="sigma must be above 0"):
        class_similarity(torch.zeros(1, 1), 0)
    with pytest.raises(ValueError, match=r"expected distances of 2 classes, \[2, 2\], got \(3, 3\)"):
        class_distances(["a", "b"], hierarchy=np.zeros((3, 3)))
    with pytest.raises(ValueError, match="has the parent 'b', which is no node"):
        Taxonomy({"a": ("b",)})


def test_similarity_by_hand():
    distances = [[0.0, 1, 2, torch.inf], [1, 0, 3, 4], [2, 3, 0, 5], [torch.inf, 4, 5, 0]]
    similarity = class_similarity(torch.tensor(distances))
    assert similarity.dtype == torch.float64
    expected = torch.tensor([1, 0.60653066, 0.13533528, 0], dtype=torch.float64)
    torch.testing.assert_close(similarity[0], expected)
    torch.testing.assert_close(similarity[1, 2:], torch.tensor([0.011108997, 3.3546263e-4], dtype=torch.float64))
    wide = class_similarity(torch.tensor([[0.0, 2], [2, 0]]), sigma=2)
    assert float(wide[0, 1]) == pytest.approx(0.60653066)


def test_imagenet_similarity_is_positive_definite():
    least = torch.linalg.eigvalsh(class_similarity(class_distances(IMAGENET)))[0]
    assert float(least) == pytest.approx(0.75, abs=0.005)  # SPEC 5.1


def test_indefinite_similarity_warns_or_is_projected():
    star = torch.full((6, 6), 1.0)  # three against three, all across at 1, within at 3
    star[:3, :3] = star[3:, 3:] = 3.0
    star.fill_diagonal_(0)
    with pytest.warns(UserWarning, match="not positive semi-definite"):
        raw = class_similarity(star)
    assert torch.linalg.eigvalsh(raw)[0] < -0.5
    projected = class_similarity(star, psd_project=True)
    assert abs(float(torch.linalg.eigvalsh(projected)[0])) < 1e-12
    assert (projected.diagonal() == 1).all()
    assert (projected >= 0).all()
    ratio = projected[~torch.eye(6, dtype=torch.bool)] / raw[~torch.eye(6, dtype=torch.bool)]
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))
