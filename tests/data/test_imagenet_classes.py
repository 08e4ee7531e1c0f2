import pytest
from torchvision.models._meta import _IMAGENET_CATEGORIES

from lightning_advinterp.data.imagenet_classes import imagenet_classes, imagenet_index, imagenet_name


def test_names_and_order_are_torchvisions():
    classes = imagenet_classes()
    assert [entry.name for entry in classes] == _IMAGENET_CATEGORIES
    assert [entry.index for entry in classes] == list(range(1000))
    wnids = [entry.wnid for entry in classes]
    assert wnids == sorted(set(wnids))


def test_lookup():
    assert imagenet_index("n01440764") == 0
    assert imagenet_index("n15075141") == 999
    assert imagenet_name("n03710721") == "maillot tank suit"
    assert imagenet_name("lobster") == "lobster"
    assert imagenet_classes() is imagenet_classes()


def test_unknown_wnid():
    with pytest.raises(KeyError, match=r"one of ImageNet's 1,000 classes.*got 'n00000001'"):
        imagenet_index("n00000001")
