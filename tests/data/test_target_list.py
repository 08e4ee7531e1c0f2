"""Lists of targets: which forms are read, which images they name, and what is refused."""

from types import SimpleNamespace

import pytest

from lightning_advinterp.core.errors import DamagedFileError
from lightning_advinterp.data.target_list import TargetList

PATHS = {3: "a/x.png", 5: "a/y.png", 8: "b/y.png"}
IMAGES = SimpleNamespace(indices=list(PATHS), path_of=PATHS.get)


def written(folder, text):
    path = folder / "list.csv"
    path.write_text(text)
    return path


def test_images_are_named_by_path_or_by_a_name_of_their_own(tmp_path):
    targets = TargetList(written(tmp_path, "image,target\nx,7\na/y.png,0\nb/y.png,12\nother,5\n"))
    assert targets.of(IMAGES) == {3: 7, 5: 0, 8: 12}
    assert targets.largest == 12


def test_the_competition_s_list_counts_from_one(tmp_path):
    targets = TargetList(
        written(tmp_path, "ImageId,URL,TrueLabel,TargetClass\nx,u,1,8\na/y.png,u,2,1\nb/y.png,u,3,1000\n")
    )
    assert targets.of(IMAGES) == {3: 7, 5: 0, 8: 999}


def test_another_content_has_another_name(tmp_path):
    names = {repr(TargetList(written(tmp_path, f"image,target\nx,{target}\n"))) for target in (1, 2, 2)}
    assert len(names) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,target\nx,1\nx,2\n", "row 3: 'x' stands in it twice"),
        ("image,target\nx,-1\n", "row 2: target '-1' is no class"),
        ("image,target\nx,cat\n", "row 2: target 'cat' is no class"),
        ("ImageId,TargetClass\nx,0\n", "row 2: TargetClass '0' is no class"),
        ("name,class\nx,1\n", "expected the columns image and target, got"),
        ("image,target\n", "has no row"),
    ],
)
def test_what_is_no_list_is_refused(tmp_path, text, message):
    with pytest.raises(DamagedFileError, match=message):
        TargetList(written(tmp_path, text))


def test_images_without_a_target_or_a_path_are_refused(tmp_path):
    targets = TargetList(written(tmp_path, "image,target\nx,1\ny,2\n"))  # y is the name of two
    with pytest.raises(ValueError, match=r"has no target for 2 of 3 images \(a/y\.png, b/y\.png\)"):
        targets.of(IMAGES)
    with pytest.raises(ValueError, match="names images by their paths, and these images have none"):
        targets.of(SimpleNamespace(indices=[1], path_of=lambda number: None))
