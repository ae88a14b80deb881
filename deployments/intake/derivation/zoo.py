"""Every honest model there is a way to make: the sources of the zoo, one after another."""

from collections.abc import Callable, Iterator

from deployments.intake.derivation import (
    frames,
    models,
    neighbours,
    searches,
    tested,
    texts,
    transforms,
)
from deployments.intake.derivation.specimen import Specimen

SOURCES: tuple[Callable[[], Iterator[Specimen]], ...] = (
    tested.tested,
    models.linear,
    models.trees,
    models.outputs,
    neighbours.neighbours,
    neighbours.vectors,
    neighbours.processes,
    transforms.encoders,
    transforms.scalers,
    transforms.imputers,
    transforms.selectors,
    transforms.compositions,
    searches.searches,
    searches.scorers,
    searches.thresholds,
    texts.texts,
    frames.frames,
)


def specimens() -> Iterator[Specimen]:
    """All specimens, each fitted as it is reached."""
    for source in SOURCES:
        yield from source()
