"""The images that every attack has something for."""

from collections.abc import Iterable
from typing import Any

from lightning_advinterp.attacks.loop.attack import Attack
from lightning_advinterp.data.images import ImageSet
from lightning_advinterp.data.user_images import as_image_set


def shared_images(attacks: Iterable[Attack], images: Any, data: str = "data") -> ImageSet:
    """Return a data set without the images that an attack leaves out; the same where none does.

    Args:
        attacks: those with ``missing: drop`` leave out what they have no stored image of.
        images: the data set.
        data: ``data``, or ``concepts``.
    """
    shared: ImageSet = as_image_set(images)
    for attack in attacks:
        places = attack.places(shared, data)
        if places is not None and len(places) < len(shared):
            shared = shared.only(places)
    return shared
