"""Promises about hostile input: nothing of it ever runs, on a worker, a head node or a node, and who sends it
is told the field.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from hybrid_hpc.errors import InvalidRequest
from hybrid_hpc.jobs import JobState
from hybrid_hpc.request import JobRequest, read_request
from lab.layout import PROJECT
from lab.testing import on_head_node
from tests.e2e.house import House
from tests.e2e.scientist import Run

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

CANARY = "canary-5f1c"
# What goes into the scheduler's directives or chooses what is run takes no such text at all.
STRICT = {
    "name", "project", "array", "walltime", "memory_per_node", "gpu_type", "cluster", "modules", "nodes",
}  # fmt: skip
HOSTILE = {
    "a directive": "x\n#SBATCH --comment=x\nTOUCH\n#",
    "a carriage return": "x\r#SBATCH --uid=0\rTOUCH\r",
    "a substitution": "$(TOUCH)",
    "backticks": "`TOUCH`",
    "a semicolon": "; TOUCH ;",
    "a pipe": "| TOUCH &",
    "a condition": "x && TOUCH || TOUCH",
    "a redirection": "x > PLACE",
    "quotes": "'; TOUCH; '\"; TOUCH; \"",
    "an option": "-rf",
    "an option with a command": "--wrap=TOUCH",
    "a zero byte": "x\0; TOUCH",
    "a unit separator": "x\x1f; TOUCH",
    "line separators": "x\u2028TOUCH\u2029TOUCH\u0085TOUCH",
    "a template": "{{ cycler.__init__.__globals__.os.system('TOUCH') }}",
    "a template's block": "{% raw %}{{ 7 * 7 }}{% endraw %}{% include '/etc/passwd' %}",
    "a way out": "../../../../../../../../../../../../tmp/*",
    "a path elsewhere": "/etc/passwd; PLACE",
    "a home": "~root/$HOME/${IFS}",
    "Slurm's own signs": "%j%u %x",
    "a long one": "x" * 40_000,
}
NO_TEXT = {"a zero byte"}  # Airflow's database takes none
# Airflow names one field an answer, so that these cost sixteen questions each.
FORM = ("a directive", "a substitution", "an option", "a zero byte", "a template", "a long one")
END = "END-OF-HOSTILE-TEXT"
SCRIPT = f"""\
#!/bin/bash
cat > text <<'{END}'
%s
{END}
mkdir made
for variable in "${{!HOSTILE_@}}"; do
    printf %%s "${{!variable}}" > "seen.$variable"
    name=${{!variable//\\//_}}
    printf %%s "$name" > "made/${{name:0:200}}"
done
printf x > $'made/a\\nline; touch {CANARY}'
cat text
"""


@dataclass(frozen=True)
class World:
    """A house in which a file appears when something hostile was run."""

    house: House

    @property
    def canary(self) -> Path:
        """A place that a worker, a head node and a node may write to."""
        return self.house.stack.folder / CANARY

    def hostile(self, what: str) -> str:
        place = str(self.canary)
        return HOSTILE[what].replace("TOUCH", f"touch {place} {CANARY}").replace("PLACE", place)

    def everywhere(self, what: str) -> dict[str, object]:
        """A request with that text in every field."""
        text = self.hostile(what)
        lists = {"outputs": ["good.csv", text], "modules": [text]}
        return {
            **dict.fromkeys(JobRequest.model_fields, text),
            **lists,
            "environment": {"GOOD": text, text: "x"},
        }

    def results(self, run: Run) -> Path:
        return self.house.stack.results / self.house.job(run).token

    def canaries(self) -> list[Path]:
        """Wherever a command may have left one: where it was told to, or where it happened to run."""
        places = [Path("/"), Path("/tmp"), Path.home(), Path.cwd(), PROJECT]
        here = [place / CANARY for place in places if (place / CANARY).exists()]
        return [*self.house.stack.folder.rglob(CANARY), *here]


@pytest.fixture(scope="module")
def world(house: House) -> World:
    return World(house)


@dataclass(frozen=True)
class Refusal:
    """What became of a hostile request by one route."""

    asked: dict[str, object]  # what Airflow let pass, all of it hostile but the name
    at_the_door: set[str]  # the fields that Airflow refused at once, each by its name
    run: Run | None  # None when Airflow let nothing pass

    @property
    def must_refuse(self) -> set[str]:
        """The fields that are left for us to refuse."""
        with pytest.raises(InvalidRequest) as caught:
            read_request(self.asked)
        return {problem.where for problem in caught.value.problems}


@dataclass(frozen=True)
class Taken:
    """A job whose script, variables and patterns are hostile."""

    run: Run
    text: str  # in its script
    environment: dict[str, str]


@dataclass(frozen=True)
class Sent:
    """Everything hostile that is sent at all, side by side."""

    by_the_form: dict[str, Refusal]  # through the REST API; a field that is refused at once is taken out
    by_an_author: dict[str, Refusal]  # through the DAG of an author who hands on what he gets
    free: Taken  # a job all of whose free text is hostile


@pytest.fixture(scope="module")
def sent(world: World) -> Sent:
    by_the_form = {what: _knock(world.house, world.everywhere(what)) for what in FORM}
    by_an_author = {
        what: _hand_on(world.house, world.everywhere(what)) for what in HOSTILE if what not in NO_TEXT
    }
    sent = Sent(by_the_form, by_an_author, _free(world))
    runs = [refusal.run for refusal in (*by_the_form.values(), *by_an_author.values()) if refusal.run]
    world.house.ended(*runs, sent.free.run)
    return sent


def _hand_on(house: House, asked: dict[str, object]) -> Refusal:
    return Refusal(asked, set(), house.scientist.start("authors_trusting", **asked))


def _free(world: World) -> Taken:
    texts = [world.hostile(what) for what in HOSTILE]
    text = "\n".join(text for text in texts if not set(text) & set("\0\r"))
    good = [text for text in texts if _is_taken(environment={"A": text})]
    environment = {f"HOSTILE_{number:02}": text for number, text in enumerate(good)}
    patterns = [text for text in texts if _is_taken(outputs=[text])]
    fields = {"name": "free", "cluster": "onprem", "walltime": "5", "environment": environment}
    outputs = ["text", "seen.*", "made/*", *patterns]
    run = world.house.scientist.start(script=SCRIPT % text, outputs=outputs, **fields)
    return Taken(run, text, environment)


def _knock(house: House, asked: dict[str, object]) -> Refusal:
    at_the_door: set[str] = set()
    while True:
        try:
            return Refusal(asked, at_the_door, house.scientist.start(**asked))
        except httpx.HTTPStatusError as error:
            found = re.search(r"400 .*Invalid input for param (\w+): ", str(error))
            if not found:
                assert "422" in str(error), error
                return Refusal(asked, at_the_door, None)
            at_the_door.add(found[1])
            asked = {name: value for name, value in asked.items() if name != found[1]}
            asked.setdefault("name", "good")


@pytest.mark.parametrize("what", [what for what in FORM if what not in NO_TEXT])
def test_a_hostile_text_in_the_form_is_refused_and_every_field_that_holds_it_is_named(
    world: World, sent: Sent, what: str
) -> None:
    refusal = sent.by_the_form[what]
    named = _named(world.house, refusal, "choose_cluster")
    assert refusal.must_refuse == named
    assert named | refusal.at_the_door >= STRICT


@pytest.mark.parametrize("what", [what for what in HOSTILE if what not in NO_TEXT])
def test_a_hostile_text_from_an_authors_dag_is_refused_and_every_field_that_holds_it_is_named(
    world: World, sent: Sent, what: str
) -> None:
    refusal = sent.by_an_author[what]
    named = _named(world.house, refusal, "job.choose_cluster")
    assert refusal.must_refuse == named
    assert named >= STRICT


def _named(house: House, refusal: Refusal, task_id: str) -> set[str]:
    """The fields that the log of the choice names; fails when there was more than a refusal."""
    run = refusal.run
    assert run
    assert house.scientist.state(run) == "failed"
    assert house.scientist.tries(run, task_id) == 1
    assert house.ledger.latest_job(*run, task_id.rpartition(".")[0]) is None
    log = house.scientist.told(run, task_id)
    return {field for field in JobRequest.model_fields if re.search(rf"^{field}: ", log, re.MULTILINE)}


@pytest.mark.parametrize("what", NO_TEXT)
def test_what_no_database_can_hold_gets_no_further_than_the_door(sent: Sent, what: str) -> None:
    refusal = sent.by_the_form[what]
    assert refusal.run is None
    assert refusal.at_the_door >= STRICT - {"modules"}


def _is_taken(**fields: object) -> bool:
    try:
        read_request({"name": "good", "script": "true", **fields})
    except InvalidRequest:
        return False
    return True


def test_a_script_and_its_variables_may_hold_any_text_and_see_every_byte_of_it(
    world: World, sent: Sent
) -> None:
    taken, results = sent.free, world.results(sent.free.run)
    assert world.house.scientist.state(taken.run) == "success", world.house.seen(taken.run)
    assert len(taken.environment) > len(HOSTILE) / 2
    assert (results / "text").read_bytes() == f"{taken.text}\n".encode()
    for name, value in taken.environment.items():
        assert (results / f"seen.{name}").read_bytes() == value.encode()


def test_files_come_back_whatever_their_names_are_and_stay_in_their_folder(world: World, sent: Sent) -> None:
    taken, results = sent.free, world.results(sent.free.run)
    names = {value.replace("/", "_")[:200] for value in taken.environment.values() if value[0] != "."}
    made = {path.name for path in (results / "made").iterdir()}
    assert made == names | {f"a\nline; touch {CANARY}"}
    assert {path.name.partition(".")[0] for path in results.iterdir()} == {"text", "seen", "made"}


def test_nothing_hostile_was_ever_run(world: World, sent: Sent) -> None:
    assert world.house.job(sent.free.run).outcome is JobState.COMPLETED
    assert world.canaries() == []


@pytest.mark.parametrize("where", ["head node", "node", "worker"])
def test_a_canary_would_have_been_seen(world: World, where: str) -> None:
    """Else the test before says nothing."""
    touch = f"touch {world.canary}"
    if where == "head node":
        assert on_head_node(world.house.stack.lab, "onprem", touch).returncode == 0
    elif where == "node":
        assert on_head_node(world.house.stack.lab, "onprem", f"srun -n1 {touch}").returncode == 0
    else:
        world.canary.touch()
    assert world.canaries() == [world.canary]
    world.canary.unlink()
