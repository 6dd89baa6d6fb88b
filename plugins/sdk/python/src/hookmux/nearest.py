"""Who mistypes a name is told the nearest one."""

from __future__ import annotations

from collections.abc import Iterable


def closest(wrong: str, known: Iterable[str]) -> str:
    """The known word nearest to a wrong one; empty if none is near."""
    best, best_distance = "", 1 + max(2, len(wrong) // 3)
    for k in known:
        if (d := _distance(wrong.lower(), k.lower())) < best_distance:
            best, best_distance = k, d
    return best


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` for the word closest to a wrong one; empty if none is near."""
    best = closest(wrong, known)
    return f" (did you mean {best!r}?)" if best else ""


def _distance(a: str, b: str) -> int:
    """The Levenshtein distance."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a):
        diagonal, row[0] = row[0], i + 1
        for j, y in enumerate(b):
            cost = diagonal + (x != y)
            diagonal = row[j + 1]
            row[j + 1] = min(cost, row[j] + 1, diagonal + 1)
    return row[-1]
