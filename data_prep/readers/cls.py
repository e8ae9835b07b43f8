"""Reads Webis-CLS-10: an XML file of `<item>`s, each with a `<text>` and a `<rating>` from 1 to 5, never 3."""

from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import iterparse
from omegaconf import DictConfig

from data_prep.examples import Example
from foundation.errors import UsageError

POSITIVE_ABOVE = 3


def read_part(path: Path, part: str, dataset: DictConfig) -> Iterator[Example]:
    """Yield one example per item, id `<part>-<item>`. The title is not part of the text; a missing text is empty.

    Raises `UsageError` when the XML is broken or has a DTD, or when an item has no numeric rating.
    """
    classes, number = list(dataset.labels), 0
    try:
        for _, element in iterparse(path, forbid_dtd=True):
            if element.tag != "item":
                continue
            number += 1
            rating = (element.findtext("rating") or "").strip()
            try:
                positive = float(rating) > POSITIVE_ABOVE
            except ValueError:
                raise UsageError(f"{path}, item {number}: its rating is {rating!r}, expected a number") from None
            yield Example(f"{part}-{number}", element.findtext("text") or "", None, classes[positive])
            element.clear()
    except ParseError as error:
        raise UsageError(f"{path} is not XML: {error}") from error
    except DefusedXmlException as error:
        raise UsageError(f"{path} declares XML entities of its own, which are not read ({error})") from error
