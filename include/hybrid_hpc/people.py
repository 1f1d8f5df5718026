"""Whose account on a cluster is whose in Airflow: a table of names, then a rule (pure).

Both are the site's own words in clusters.yaml. A name that neither knows has no account, and runs nothing.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from hybrid_hpc.field_types import matching, single_line
from hybrid_hpc.problems import WrongValueError, shown

WRAPPER = "/usr/local/libexec/hybrid-hpc-as"
ACCOUNT = r"[a-z_][a-z0-9_-]{0,31}"
# The wrapper refuses every account whose number is below that of people; these are the names that all know.
SYSTEM_ACCOUNTS = frozenset(
    {
        *("root", "daemon", "bin", "sys", "sync", "adm", "operator", "halt", "shutdown", "nobody"),
        *(
            "games",
            "man",
            "lp",
            "mail",
            "news",
            "uucp",
            "proxy",
            "www-data",
            "backup",
            "list",
            "irc",
            "gnats",
        ),
        *("ftp", "sshd", "chrony", "polkitd", "dbus", "messagebus", "tss", "mysql", "postgres", "redis"),
        *("systemd-network", "systemd-resolve", "systemd-timesync", "slurm", "munge"),
    }
)
_NAME_REMEDY = "Write the name of an account there: small letters, digits, _ and -."


def _account(text: str) -> str:
    name = matching(ACCOUNT, _NAME_REMEDY)(text)
    if name in SYSTEM_ACCOUNTS:
        raise WrongValueError(f"{name} is an account of the system", "Name the account of a person.")
    return name


def _rule(text: str) -> str:
    remedy = r"Write a pattern with one group, the account: '([a-z][a-z0-9]*)@example\.org'."
    try:
        groups = re.compile(text).groups
    except re.error as error:
        raise WrongValueError(f"{shown(text)} is no pattern: {error}", remedy) from None
    if groups != 1:
        raise WrongValueError(f"{shown(text)} has {groups} groups, not one", remedy)
    return text


AccountName = Annotated[str, AfterValidator(_account)]
Line = Annotated[str, AfterValidator(single_line), Field(min_length=1, max_length=200)]
Rule = Annotated[str, AfterValidator(single_line), AfterValidator(_rule), Field(min_length=1, max_length=200)]
Program = Annotated[str, AfterValidator(matching(r"(/[A-Za-z0-9_.-]+)+", "Write its absolute path."))]


class People(BaseModel):
    """``accounts`` by name in Airflow; for others ``rule``, a pattern of the whole name with one group.

    ``wrapper`` is where `hybrid-hpc-as` is installed on the head node.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    accounts: dict[Line, AccountName] = {}
    rule: Rule | None = None
    wrapper: Program = WRAPPER

    def account_of(self, person: str) -> str | None:
        """The account of an Airflow user; None for one who has none, and for what may be nobody's."""
        if person in self.accounts:
            return self.accounts[person]
        found = re.fullmatch(self.rule, person) if self.rule else None
        try:
            return _account(found[1] or "") if found else None
        except WrongValueError:
            return None
