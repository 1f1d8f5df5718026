"""Who may see which usage: everybody's, or one's own and the whole cluster's without names.

Everybody's is for those who run the site (`access.runs_the_site`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Literal

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import Depends, HTTPException, Query, status
from pydantic import BaseModel, Field

from hybrid_hpc.usage.frames import Period
from hybrid_hpc.usage.selection import COLUMNS
from hybrid_hpc_airflow.web.access import runs_the_site
from hybrid_hpc_airflow.web.dependencies import NowDep
from hybrid_hpc_airflow.web.usage_filter import DAYS, Grouping, UsageFilter, period_of

LONGEST = 300  # letters of a name
EARLIEST, LATEST = date(1970, 1, 1), date(9999, 1, 1)


@dataclass(frozen=True, slots=True)
class Onlooker:
    """Who is looking; ``name`` as Airflow records who started a run, which is a job's person."""

    name: str
    sees_everybody: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody asks for and may see."""

    filter: UsageFilter
    by_whom: Onlooker

    @property
    def names_persons(self) -> bool:
        """False for the whole cluster's usage that is shown to somebody who may not see others."""
        return self.by_whom.sees_everybody or self.filter.person == self.by_whom.name


def onlooker(user: GetUserDep) -> Onlooker:
    """Whoever is logged in."""
    return Onlooker(user.get_name(), sees_everybody=runs_the_site(user))


OnlookerDep = Annotated[Onlooker, Depends(onlooker)]


class UsageQuery(BaseModel):
    """The filters as they stand in the address; '' leaves everybody in."""

    first: date | None = Field(None, alias="from")
    last: date | None = Field(None, alias="to")
    period: Period | None = None
    by: Grouping = "project"
    cluster: str = Field("", max_length=LONGEST)
    partition: str = Field("", max_length=LONGEST)
    project: str = Field("", max_length=LONGEST)
    person: str = Field("", max_length=LONGEST)
    whose: Literal["mine", "all"] | None = None

    def days(self, today: date) -> tuple[date, date]:
        """First and last day. Raises ValueError, in a sentence, for days that lie the wrong way round."""
        last = self.last or max(today, self.first or today)
        first = self.first or max(last, EARLIEST) - timedelta(days=DAYS - 1)
        if not EARLIEST < first <= last < LATEST:
            told = f"'from' ({first}) must not lie after 'to' ({last})"
            raise ValueError(f"{told}, and both between {EARLIEST} and {LATEST}")
        return first, last

    def filter(self, today: date, who: Onlooker) -> UsageFilter:
        """The same, where it is left open for this onlooker. Raises ValueError as `days`."""
        first, last = self.days(today)
        mine = self.whose == "mine" or (self.whose is None and not who.sees_everybody)
        names = {column: getattr(self, column) for column in COLUMNS}
        if mine and not self.person:
            names["person"] = who.name
        return UsageFilter(first, last, self.period or period_of(first, last), self.by, **names)


def asked(query: Annotated[UsageQuery, Query()], now: NowDep, who: OnlookerDep) -> Asked:
    """What the address asks for. 422 for what is no time, 403 for what this onlooker may not see.

    Unless it is said, everybody's for those who may see it, for all others their own.
    """
    try:
        found = Asked(query.filter(now.date(), who), who)
    except ValueError as error:
        raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, str(error)) from error
    if not found.names_persons and (found.filter.person or found.filter.by == "person"):
        sentence = "you may see your own usage ('whose=mine'), and all of it without the names of persons"
        raise HTTPException(status.HTTP_403_FORBIDDEN, sentence)
    return found


AskedDep = Annotated[Asked, Depends(asked)]
