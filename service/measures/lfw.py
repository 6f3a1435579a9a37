"""LFW's lists of pairs: View 1 (`pairsDevTrain.txt`, `pairsDevTest.txt`) and View 2 (`pairs.txt`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray


class LfwListInvalid(ValueError):
    """The text is not one of LFW's lists of pairs."""


class LfwPhotograph(NamedTuple):
    """One photograph: its person, and its number among theirs, from 1."""

    person: str
    number: int

    @property
    def stem(self) -> str:
        """Its place below LFW's folder, without the suffix: `person/person_0001`."""
        return f"{self.person}/{self.person}_{self.number:04d}"


@dataclass(frozen=True, slots=True)
class LfwPairs:
    """Pairs of photographs.

    Attributes:
        pairs: The two photographs of each.
        genuine: Whether they show one person, (N,).
        folds: The fold of each pair, (N,); None in a list without folds (View 1).
    """

    pairs: tuple[tuple[LfwPhotograph, LfwPhotograph], ...]
    genuine: NDArray[np.bool_]
    folds: NDArray[np.int64] | None


def parse_lfw_pairs(text: str, view: Literal[1, 2] | None = None) -> LfwPairs:
    """Parse a list: `name i j` for a genuine pair, `name i name j` for an impostor pair.

    The first line says how many there are of each kind, `500` (View 1), or in how many folds, `10 300` (View 2). With
    `view`, a list of the other one is refused.

    Raises:
        LfwListInvalid: The text is no such list, or holds another number of pairs than it announces.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    head = lines[0].split() if lines else []
    if len(head) not in (1, 2) or not all(cell.isdigit() for cell in head):
        raise LfwListInvalid("the first line gives the number of pairs, as in '500', or folds and pairs")
    if view is not None and len(head) != view:
        form = "the number of pairs, as in '500'" if view == 1 else "folds and pairs, as in '10 300'"
        raise LfwListInvalid(f"the first line of View {view} gives {form}")
    folds, each = int(head[0]) if len(head) == 2 else 1, int(head[-1])
    pairs = tuple(_parse_line(line) for line in lines[1:])
    if len(pairs) != 2 * folds * each:
        raise LfwListInvalid(f"{len(pairs)} pairs, its first line announces {2 * folds * each}")
    genuine = np.array([len(line.split()) == 3 for line in lines[1:]], dtype=np.bool_)
    return LfwPairs(pairs, genuine, np.repeat(np.arange(folds), 2 * each) if len(head) == 2 else None)


def _parse_line(line: str) -> tuple[LfwPhotograph, LfwPhotograph]:
    match line.split():
        case [person, first, second]:
            return _photograph(person, first, line), _photograph(person, second, line)
        case [person, first, other, second]:
            return _photograph(person, first, line), _photograph(other, second, line)
    raise LfwListInvalid(f"cannot read the pair {line!r}")


def _photograph(person: str, number: str, line: str) -> LfwPhotograph:
    if not number.isdigit():
        raise LfwListInvalid(f"cannot read the pair {line!r}: {number!r} is not a number")
    return LfwPhotograph(person, int(number))
