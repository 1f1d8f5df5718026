"""Waits and slowdowns as counts in logarithmic buckets, which can be added up as quantiles cannot (pure).

Each bucket stands for one value, and every value that falls into it lies within `ERROR` of that one, or both
lie below 1. What is read off the buckets therefore lies within `ERROR` of what the values themselves give.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

GROWTH = 1.05  # from one bucket's value to the next one's
ERROR = math.sqrt(GROWTH) - 1.0  # 2.5 %
NOTHING = -1  # the bucket of what is below a half, which counts as 0


def bucket_of(values: pd.Series) -> pd.Series:
    """The bucket of each value, an integer; the values are neither missing nor below 0."""
    numbers = np.rint(np.log(values.astype(float).clip(lower=1.0).to_numpy()) / math.log(GROWTH))
    return pd.Series(numbers, values.index).where(values >= 0.5, NOTHING).astype(int)


def value_of(buckets: pd.Series) -> pd.Series:
    """The value that a bucket stands for; NaN for a bucket that is missing."""
    values = pd.Series(GROWTH ** buckets.astype(float).to_numpy(), buckets.index)
    return values.where(buckets != NOTHING, 0.0)


def quantile_of(below: pd.Series, above: pd.Series, lives: pd.Series, part: float) -> pd.Series:
    """The quantile ``part`` of so many ``lives``, as pandas interpolates it.

    ``below`` and ``above`` are the buckets of the two lives between which it lies.
    """
    place = part * (lives.astype(float) - 1.0)
    low, high = value_of(below), value_of(above)
    return low + (high - low) * (place - np.floor(place))
