import pytest

import lightning_advinterp.data as data


@pytest.mark.parametrize("name", data.__all__)
def test_every_name_resolves(name: str):
    assert getattr(data, name).__name__ == name


def test_unknown_name():
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = data.Nothing
