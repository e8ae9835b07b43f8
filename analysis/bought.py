"""Puts the sentences and the tables on what pre-training buys in order: doses, labels, longer trainings, parts."""

from dataclasses import dataclass

import pandas as pd

from analysis.dose_words import about_doses, dose_sentence, dose_table, loss_words, untrained_words
from analysis.labels_words import about_labels, labels_table, worth
from analysis.ladder_words import about_ladder, ladder_sentence, ladder_table
from analysis.longer import Longer
from analysis.longer_words import about_longer, longer_sentence, longer_table
from analysis.sections import Material


@dataclass(frozen=True)
class Part:
    """A table of doses, of labels, of lengths or of parts of the weights."""

    name: str  # dose, labels, length or ladder
    rest: dict[str, str]  # the names that its rows share
    about: str  # how it is to be read
    frame: pd.DataFrame


def parts_of(material: Material) -> list[Part]:
    """Return the tables of doses, labels, lengths and parts of the first weights."""
    fits, losses = material.fits, material.losses
    return [
        *(Part("dose", of.rest, about_doses(of), dose_table(of, fits, losses)) for of in material.doses),
        *(Part("labels", of.rest, about_labels(of), labels_table(of, fits)) for of in material.labels),
        *(Part("length", rest, about_longer(), longer_table(of, fits)) for rest, of in _by_rest(material.longer)),
        *(Part("ladder", of.rest, about_ladder(of), ladder_table(of, fits)) for of in material.ladders),
    ]


def _by_rest(found: list[Longer]) -> list[tuple[dict[str, str], list[Longer]]]:
    """Return longer trainings by what they share but for the number of training texts."""
    by_rest: dict[str, tuple[dict[str, str], list[Longer]]] = {}
    for own in found:
        rest = {key: name for key, name in own.usual.rest.items() if key not in ("train", "length")}
        by_rest.setdefault(str(rest), (rest, []))[1].append(own)
    return list(by_rest.values())


def tables_of(parts: list[Part]) -> dict[str, pd.DataFrame]:
    """Return the tables of each name as one, each row with what it is of."""
    return {
        name: pd.concat([part.frame.assign(**part.rest) for part in parts if part.name == name])
        for name in dict.fromkeys(part.name for part in parts)
    }


def dose_sentences(material: Material) -> list[str]:
    """Return the sentences on doses, which the answer begins with."""
    said = [
        [dose_sentence(curve), loss_words(curve, material.losses), untrained_words(curve, material.losses)]
        for curve in material.doses
    ]
    return [*(" ".join(filter(None, words)) for words in said), *material.without_doses]


def bought(material: Material) -> list[str]:
    """Return the sentences of the answer on labels, on longer trainings and on parts of the weights."""
    return [
        *(worth(curves, material.fits) for curves in material.labels),
        *material.without_labels,
        *(longer_sentence(found, material.fits) for found in material.longer),
        *material.without_longer,
        *(ladder_sentence(found, material.fits) for found in material.ladders),
        *material.without_ladders,
    ]
