"""Waits and slowdowns as counts in logarithmic buckets, which can be added up as quantiles cannot (pure).

Each bucket stands for one value, and every value that falls into it lies within `ERROR` of that one, or both
lie below 1. What is read off the buckets therefore lies within `ERROR` of what the values themselves give.
The counts of a group are kept as bytes: a `PAIR` for each bucket that is not empty, so that a page reads one
row of a group and not one for each of its buckets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

GROWTH = 1.05  # from one bucket's value to the next one's
ERROR = math.sqrt(GROWTH) - 1.0  # 2.5 %
NOTHING = -1  # the bucket of what is below a half, which counts as 0
PAIR = np.dtype([("bucket", "<i2"), ("lives", "<u4")])
Integers = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]


def bucket_of(values: pd.Series) -> pd.Series:
    """The bucket of each value, an integer; the values are neither missing nor below 0."""
    numbers = np.rint(np.log(values.astype(float).clip(lower=1.0).to_numpy()) / math.log(GROWTH))
    return pd.Series(numbers, values.index).where(values >= 0.5, NOTHING).astype(int)


def value_of(buckets: Integers) -> Numbers:
    """The value that each bucket stands for."""
    return np.where(buckets == NOTHING, 0.0, GROWTH ** buckets.astype(float))


def packed(buckets: pd.Series, lives: pd.Series, groups: Sequence[pd.Series]) -> pd.Series:
    """The bytes of each group, of how many lives there are in which bucket. Index: the groups.

    All of them are as long as each other; a bucket may come more than once.
    """
    added = lives.groupby([*groups, buckets.rename("bucket")]).sum()
    pairs = np.empty(len(added), PAIR)
    pairs["bucket"] = added.index.get_level_values("bucket")
    pairs["lives"] = added.to_numpy()
    sizes = added.groupby(level=list(range(len(groups)))).size()
    whole, ends = pairs.tobytes(), sizes.cumsum() * PAIR.itemsize
    begins = ends - sizes * PAIR.itemsize
    return pd.Series([whole[a:b] for a, b in zip(begins, ends, strict=True)], sizes.index, dtype=object)


def unpacked(counts: Sequence[bytes]) -> tuple[Integers, Integers, Integers]:
    """What has been packed, a row for each pair: its place in ``counts``, its bucket, its lives."""
    pairs = np.frombuffer(b"".join(counts), PAIR)
    sizes = np.fromiter(map(len, counts), np.int64, len(counts)) // PAIR.itemsize
    places = np.repeat(np.arange(len(counts)), sizes)
    return places, pairs["bucket"].astype(np.int64), pairs["lives"].astype(np.int64)


def counted(counts: Sequence[bytes], groups: Integers, how_many: int) -> Integers:
    """All counts added up: a row for each of so many groups, a column for each bucket from `NOTHING` on.

    ``groups`` says for each of the counts to which group it belongs, from 0; below 0 it counts nowhere.
    """
    places, buckets, lives = unpacked(
        [each if group >= 0 else b"" for each, group in zip(counts, groups, strict=True)]
    )
    width = int(buckets.max(initial=NOTHING)) - NOTHING + 1
    cells = groups[places] * width + (buckets - NOTHING)
    added = np.bincount(cells, weights=lives, minlength=how_many * width)
    return added.astype(np.int64).reshape(how_many, width)


def quantile_of(counts: Integers, part: float) -> Numbers:
    """The quantile ``part`` of each row of `counted`, as pandas interpolates it; NaN of a row without lives.

    It lies between two lives, or on one, when they are numbered from 0 in order.
    """
    upto = counts.cumsum(axis=1)
    place = part * (upto[:, -1] - 1.0)
    below = (upto > place[:, None]).argmax(axis=1)
    above = (upto - 1 >= place[:, None]).argmax(axis=1)
    low, high = value_of(below + NOTHING), value_of(above + NOTHING)
    return np.where(upto[:, -1] > 0, low + (high - low) * (place - np.floor(place)), np.nan)
