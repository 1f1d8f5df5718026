"""Whatever happens to an answer on its way: no reader breaks, and none invents the end of a job."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from hybrid_hpc.commands import Answer
from hybrid_hpc.errors import Unavailable, Unreadable
from hybrid_hpc.jobs import JobState
from hybrid_hpc.schedulers.slurm import Slurm
from hybrid_hpc.schedulers.slurm_words import job_state
from tests.captured.reading import captured, names

VERSION = "slurm-22.05.8"
SLURM = Slurm()
MUTANTS = 25
NO_DIGITS = "abcXYZ .:,;|=+-_()[]%\x00\x1e\x1f\t\r\n\x7f\x85\u2028\u00e4\ufffd"
STATE_WORDS = ("COMPLETED", "FAILED", "CANCELLED", "RUNNING", "PENDING", "TIMEOUT", "NODE_FAIL")

Ends = set[tuple[str, str, JobState]]  # native id, array task, final state
Mutation = Callable[[random.Random, str], str]

LOADS = [name for name in names(VERSION) if name.startswith("load-")]
FINDS = [name for name in names(VERSION) if name.startswith("find-")]
HISTORIES = [name for name in names(VERSION) if name.startswith("history-")]


def dice(seed: str | int) -> random.Random:
    return random.Random(seed)  # noqa: S311  the same damage in every run


def ends(name: str, answer: Answer) -> Ends:
    """Every end of a job that the reader of this answer tells of; raises nothing but what it may."""
    try:
        if name in LOADS:
            found = {(job.native_id, "", job.state) for job in SLURM.read_load(answer).jobs}
        elif name in FINDS:
            token = f"hh-{name.split('-')[1]}"
            found = {(job.native_id, "", job.state) for job in SLURM.read_find(answer, token)}
        else:
            found = {(life.native_id, life.task, life.state) for life in SLURM.read_history(answer)}
    except Unavailable:
        return set()
    return {end for end in found if end[2].final}


def ends_of_parts(name: str, answer: Answer) -> Ends:
    """What an array may be when some of its lines are lost on the way: what one of its tasks is."""
    found = ends(name, answer) if name in FINDS else set()
    states = {job_state(word) for word in STATE_WORDS if word in answer.stdout}
    ids = {"64"} if "array" in name and name in FINDS else {native_id for native_id, _, _ in found}
    return {(native_id, "", state) for native_id in ids for state in states}


def cut(rng: random.Random, text: str) -> str:
    return text[: rng.randrange(len(text) + 1)]


def drop_lines(rng: random.Random, text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if rng.random() > 0.2)


def shuffle_lines(rng: random.Random, text: str) -> str:
    lines = text.splitlines(keepends=True)
    rng.shuffle(lines)
    return "".join(lines)


def double_lines(rng: random.Random, text: str) -> str:
    return "".join(line * rng.choice([1, 1, 2]) for line in text.splitlines(keepends=True))


def garble(rng: random.Random, text: str) -> str:
    letters = list(text)
    for _ in range(1 + len(letters) // 50):
        letters[rng.randrange(len(letters))] = rng.choice(NO_DIGITS)
    return "".join(letters)


def drop_letters(rng: random.Random, text: str) -> str:
    return "".join(letter for letter in text if letter in "0123456789_" or rng.random() > 0.01)


def unknown_states(_rng: random.Random, text: str) -> str:
    for word in STATE_WORDS:
        text = text.replace(word, f"RE{word}ISH")
    return text


def insert_banner(rng: random.Random, text: str) -> str:
    lines = text.splitlines(keepends=True)
    banner = "*** maintenance on Friday: jobs COMPLETED by 9:00, hh-begin 2 ***\n"
    lines.insert(rng.randrange(len(lines) + 1), banner)
    return "".join(lines)


def windows_line_ends(_rng: random.Random, text: str) -> str:
    return text.replace("\n", "\r\n")


def invalid_utf8(rng: random.Random, text: str) -> str:
    raw = bytearray(text.encode())
    for _ in range(1 + len(raw) // 80):
        raw[rng.randrange(len(raw))] = rng.choice([0xFF, 0xC3, 0x80, 0xED])
    return bytes(raw).decode(errors="replace")


MUTATIONS: list[Mutation] = [
    cut,
    drop_lines,
    shuffle_lines,
    double_lines,
    garble,
    drop_letters,
    unknown_states,
    insert_banner,
    windows_line_ends,
    invalid_utf8,
]


@pytest.mark.parametrize("mutate", MUTATIONS)
@pytest.mark.parametrize("name", [*LOADS, *FINDS, *HISTORIES])
def test_a_damaged_answer_breaks_no_reader_and_ends_no_job(name: str, mutate: Mutation) -> None:
    real = captured(VERSION, name)
    true_ends = ends(name, real) | ends_of_parts(name, real)
    for seed in range(MUTANTS):
        damaged = mutate(dice(f"{name} {seed}"), real.stdout)
        invented = ends(name, Answer(real.exit_status, damaged, real.stderr)) - true_ends
        assert not invented, f"seed {seed}"


@pytest.mark.parametrize("name", ["load-busy", "find-array", "history-array"])
def test_an_answer_cut_at_any_byte_is_unreadable(name: str) -> None:
    whole = captured(VERSION, name).stdout
    read: dict[str, Callable[[Answer], object]] = {
        "load-busy": SLURM.read_load,
        "find-array": lambda answer: SLURM.read_find(answer, "hh-array"),
        "history-array": SLURM.read_history,
    }
    for length in range(0, len(whole) - 2, 7):  # the last two are the end marker's 0 and its line end
        with pytest.raises(Unreadable):
            read[name](Answer(0, whole[:length], ""))


def test_an_unknown_state_word_is_unknown_and_not_final() -> None:
    real = captured(VERSION, "history-array").stdout
    states = {life.state for life in SLURM.read_history(Answer(0, unknown_states(dice(1), real), ""))}
    assert states == {JobState.UNKNOWN}


def test_a_login_banner_that_looks_like_an_answer_changes_nothing() -> None:
    real = captured(VERSION, "load-busy")
    forged = "hh-begin\nhh-000000000000 jobs 0\nhh-000000000000 end 0\n"
    assert SLURM.read_load(Answer(0, forged + real.stdout, "")) == SLURM.read_load(real)


def test_when_no_line_can_be_read_the_answer_is_unreadable_not_empty() -> None:
    real = captured(VERSION, "history-array")
    nonce = real.stdout.split("\n")[0].split(" ")[1]
    damaged = real.stdout.replace(f"{nonce}COMPLETED", "COMPLETED").replace("64_", "_")
    with pytest.raises(Unreadable, match="not one of"):
        SLURM.read_history(Answer(0, damaged, ""))


def test_a_status_that_no_program_has_is_unreadable() -> None:
    good = captured(VERSION, "history-all")
    garbled = good.stdout.rstrip("\n") + "9" * 5000 + "\n"
    with pytest.raises(Unreadable):
        SLURM.read_history(replace(good, stdout=garbled))
