"""Every error this project raises, on two axes: whose fault it is, and whether waiting helps.

::

    HybridHpcError
    ├── Invalid            what was asked for is wrong; waiting does not help
    │   ├── InvalidRequest     a job request (names each field and the remedy)
    │   ├── InvalidClusters    clusters.yaml (names each key, its line and the remedy)
    │   ├── InvalidBudgets     budgets.yaml (the same)
    │   └── FitsNowhere        no cluster can ever hold this job
    ├── Refused            the other side said no; waiting does not help, a person must act
    │   ├── AccessDenied       credentials or host key not accepted
    │   ├── SubmissionRefused  the scheduler does not take this job
    │   ├── BudgetSpent        the project has nothing left for another run of a placed job
    │   └── NoAccounting       the scheduler keeps no records of what its jobs used
    └── Unavailable        the world is not ready; waiting helps
        ├── BudgetTaken        others were quicker at a project's budget: place the job again
        ├── Unreachable        no connection; nothing was sent
        │   └── Shut               not even tried: a circuit breaker is open
        ├── ConnectionLost     the answer is missing: the effect is unknown, never assume either
        └── Unreadable         an answer came and makes no sense
            └── TooLong            it is longer than anybody wants to read: ask for less
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class HybridHpcError(Exception):
    """Root of the tree; ``waiting_helps`` says whether the same call may succeed later.

    ``shut``: what the next call will be told, when this failure has left a circuit breaker open.
    """

    waiting_helps = False
    shut: Shut | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where it stands, what is wrong with it and what to do about it."""

    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}. {self.remedy}"


class Invalid(HybridHpcError):
    """What was asked for is wrong; the same call will fail for ever."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))


class InvalidRequest(Invalid):
    """A job request is wrong; ``Problem.where`` is the name of the field."""


class InvalidClusters(Invalid):
    """clusters.yaml is wrong; ``Problem.where`` is ``file:line key``."""


class InvalidBudgets(Invalid):
    """budgets.yaml is wrong; ``Problem.where`` is ``file:line key``."""


class FitsNowhere(Invalid):
    """No cluster can ever hold this job; one problem per cluster."""


class Refused(HybridHpcError):
    """The other side said no, and would say it again."""


class AccessDenied(Refused):
    """Credentials or host key were not accepted. Not tried again for minutes: five tries lock an account."""


class SubmissionRefused(Refused):
    """The scheduler does not take this job; the message holds the scheduler's own words."""


class BudgetSpent(Refused):
    """A job that was placed and has run is to run once more, and its project has not so much left."""


class NoAccounting(Refused):
    """The scheduler keeps no records of what its jobs used: that is not the same as no jobs."""


class Unavailable(HybridHpcError):
    """The world is not ready; the same call may succeed later."""

    waiting_helps = True


class BudgetTaken(Unavailable):
    """What was left of a budget when a job was placed has been taken since; nothing was written."""


class Unreachable(Unavailable):
    """No connection could be made; nothing was sent, so trying again is harmless."""


class Shut(Unreachable):
    """Not even tried: the circuit breaker before this way is open; nothing was sent.

    ``lasting`` is the part of the sentence that stays the same until the next try, ``retry_after_s`` the
    seconds until then.
    """

    def __init__(self, said: str, *, lasting: str, retry_after_s: float) -> None:
        super().__init__(said)
        self.shut = self
        self.lasting = lasting
        self.retry_after_s = retry_after_s


class ConnectionLost(Unavailable):
    """The answer is missing or cut. Whether the command took effect is unknown."""


class Unreadable(Unavailable):
    """An answer came and makes no sense; the last known state stands."""


class TooLong(Unreadable):
    """More came than an answer may hold; the rest was not read. Asking for less helps."""
