"""The points at which a submission can be made to die, in the order in which it passes them."""

from __future__ import annotations

POINTS = (
    "before_intent",
    "after_intent",
    "after_look",
    "after_upload",
    "before_send",
    "after_send",
    "after_record",
    "after_release",
    "after_mark",
)
