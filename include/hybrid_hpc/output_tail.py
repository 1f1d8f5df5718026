"""The last lines of a job's output, made fit to be kept and shown: bounded, and nothing but text (pure)."""

from __future__ import annotations

import re
import unicodedata

TAIL_BYTES = 8 * 1024
_CUT = "…\n"
# What a terminal would obey: colours, cursor moves, window titles; the last one may be cut off.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_a-z0-9=>])")
_KEPT = frozenset("\n\t")
_REFUSED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})  # controls, marks that turn the text round, surrogates


def clean_tail(text: str, most_bytes: int = TAIL_BYTES) -> str:
    """At most ``most_bytes`` of UTF-8 from the end of ``text``, begun with an ellipsis where it was cut.

    Of a line that was written over (a progress bar) the last state is kept; escape sequences and characters
    that no eye sees are left out, because they could hide or turn round what is there.
    """
    plain = _ESCAPES.sub("", text.replace("\r\n", "\n"))
    lines = (_last_state(line) for line in plain.split("\n"))
    return _end("\n".join(lines).strip("\n"), most_bytes)


def _last_state(line: str) -> str:
    shown = line.rstrip("\r").rpartition("\r")[2]
    return "".join(each for each in shown if each in _KEPT or unicodedata.category(each) not in _REFUSED)


def _end(text: str, most_bytes: int) -> str:
    encoded = text.encode("utf-8")
    if len(encoded) <= most_bytes:
        return text
    cut = encoded[len(_CUT.encode()) - most_bytes :].decode("utf-8", errors="ignore")
    return _CUT + (cut.partition("\n")[2] or cut)
