"""CIFAR-10's classes."""

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
WNIDS = (
    "n02691156",  # airplane
    "n02958343",  # car, auto, automobile
    "n01503061",  # bird
    "n02121620",  # cat (house cats and wildcats; the house cat alone is n02121808)
    "n02430045",  # deer
    "n02084071",  # dog
    "n01639765",  # frog
    "n02374451",  # horse
    "n04194289",  # ship
    "n04490091",  # truck
)
"""The first noun sense of each class name in WordNet 3.0, in label order."""
