"""The promise, tested as a whole: whatever people, publishers and faults do in any order, what was promised holds.

The real intake, delivery, due loop, relay, bus, pages, operations API, replay and directory rules run over a modelled
world with a clock of its own. A long run: `CONVIVE_MODEL_EXAMPLES=5000 make test ARGS="tests/model"`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from invitation.lifecycle.records import Outcome
from tests.model.databases import MongoDatabase
from tests.model.scene import EMAILS, PASSWORDS, Scene, Violated
from tests.model.world import Fuse

Thing = TypeVar("Thing")

LONG = os.environ.get("CONVIVE_MODEL_EXAMPLES")
STEPS = int(os.environ.get("CONVIVE_MODEL_STEPS", "40"))
# Without shrinking a failure is reported at once, with all that happened.
PHASES = [
    Phase.explicit,
    Phase.generate,
    *([Phase.shrink] if os.environ.get("CONVIVE_MODEL_SHRINK", "1") == "1" else []),
]

POINTS = (
    "save:before",
    "save:after",
    "load:after",
    "due:after",
    "publish:before",
    "publish:after",
    "apply:before",
    "ack:before",
    "ack:after",
    "smtp:before",
    "smtp:after",
    "directory:before",
    "directory:after",
    "directory save:before",
    "directory save:after",
    "answer:before",
    "replay:after",
)
MAIL_MODES = ("accept", "later", "never", "away", "hang", "hang_after", "lost")
ON_THE_WAY_OUT = ("save:before", "save:after", "publish:before", "publish:after", "apply:before", "ack:before",
                  "ack:after", "smtp:before", "smtp:after")  # fmt: skip
ON_THE_WAY_IN = ("load:after", "save:before", "save:after", "directory:before", "directory:after",
                 "directory save:before", "directory save:after", "answer:before")  # fmt: skip
# Mostly one person with one password, so that the same account meets several invitations.
EMAIL = st.sampled_from([*EMAILS[:1] * 3, *EMAILS])
PASSWORD = st.sampled_from([*PASSWORDS[:1] * 3, *PASSWORDS])
EITHER = st.integers(0, 1)
# Which one of those that there are: what is drawn must not depend on what happened, or no failure could be repeated.
WHICH = st.integers(0, 200)
EFFECT = st.sampled_from(["crash", "stop", "away"])
SOON = st.sampled_from([0, 0, 0.05, 1])


class Life(RuleBasedStateMachine):
    """Everything that can happen, in any order."""

    scene: Scene

    @staticmethod
    def make_scene(seed: int) -> Scene:
        return Scene(seed)

    @initialize(seed=st.integers(0, 2**16))
    def the_world_begins(self, seed: int) -> None:
        self.scene = type(self).make_scene(seed)
        self.scene.world.loop.run_for(1)

    # --- publishers and staff ---------------------------------------------------------------------------------------

    @rule(email=EMAIL, in_order=st.booleans(), seconds=SOON)
    def another_team_invites(self, email: str, in_order: bool, seconds: float) -> None:
        self.scene.invite_foreign(email, in_order=in_order)
        self._goes_on(seconds)

    @rule(email=EMAIL, by=st.sampled_from(["email", "email", "none"]), seconds=SOON)
    def the_cabinet_adds_a_member(self, email: str, by: str, seconds: float) -> None:
        self.scene.invite_own(email, by)
        self._goes_on(seconds)

    @rule(email=EMAIL, point=st.sampled_from(ON_THE_WAY_OUT), effect=EFFECT, passes=st.integers(1, 3))
    def somebody_is_invited_in_bad_luck(self, email: str, point: str, effect: Any, passes: int) -> None:
        self.scene.world.fuses.append(Fuse(point, effect, passes))
        self.scene.invite_foreign(email, in_order=True)
        self._goes_on(1)

    @rule(which=WHICH, email=EMAIL)
    def a_member_is_edited(self, which: int, email: str) -> None:
        guest = _one(which, list(self.scene.guests.values()))
        if guest is not None and guest.is_own:
            self.scene.edit(guest, email)
        elif guest is not None and guest.alive:
            self.scene.say(guest, "updated", email)

    @rule(which=WHICH)
    def a_member_is_removed(self, which: int) -> None:
        guest = _one(which, list(self.scene.guests.values()))
        if guest is not None and guest.is_own:
            self.scene.remove(guest)
        elif guest is not None and guest.alive:
            self.scene.say(guest, "removed")

    @rule(which=WHICH)
    def a_member_is_added_again(self, which: int) -> None:
        if guest := _one(which, [guest for guest in self.scene.guests.values() if not guest.alive]):
            self.scene.say(guest, "created")

    @rule(which=WHICH)
    def an_event_is_published_again(self, which: int) -> None:
        if publication := _one(which, self.scene.published):
            self.scene.publish(*publication)

    @rule(which=WHICH, what=st.sampled_from(["resend", "resend", "revoke"]))
    def somebody_asks_on_the_bus(self, which: int, what: str) -> None:
        if guest := _one(which, list(self.scene.guests.values())):
            self.scene.request(guest, what)

    @rule(which=WHICH)
    def staff_invites_again(self, which: int) -> None:
        if guest := _one(which, [guest for guest in self.scene.guests.values() if guest.is_own]):
            self.scene.invite_again(guest)

    @rule()
    def somebody_publishes_nonsense(self) -> None:
        self.scene.broker.publish("user.created", b"{}", "nonsense")

    # --- operators and people ---------------------------------------------------------------------------------------

    @rule(which=WHICH, what=st.sampled_from(["resend", "extend", "extend", "revoke"]), at=EITHER)
    def an_operator_acts(self, which: int, what: str, at: int) -> None:
        if guest := _one(which, list(self.scene.guests.values())):
            self.scene.operate(self.scene.processes[at], guest, what)

    @rule(
        which=WHICH,
        what=st.sampled_from(["look", "open", "password", "password", "accept", "decline", "renew"]),
        password=PASSWORD,
        at=EITHER,
        newest=st.booleans(),
        seconds=SOON,
    )
    def a_person_acts(self, which: int, what: str, password: str, at: int, newest: bool, seconds: float) -> None:
        if mail := _one(-1 if newest else which, self.scene.world.mails):
            self.scene.person(self.scene.processes[at], mail.link, what, password)
        self._goes_on(seconds)

    @rule(
        what=st.sampled_from(["password", "accept", "renew"]),
        password=PASSWORD,
        point=st.sampled_from(ON_THE_WAY_IN),
        effect=EFFECT,
        passes=st.integers(1, 3),
        at=EITHER,
    )
    def a_person_acts_in_bad_luck(
        self, what: str, password: str, point: str, effect: Any, passes: int, at: int
    ) -> None:
        if mail := _one(-1, self.scene.world.mails):
            self.scene.world.fuses.append(Fuse(point, effect, passes))
            self.scene.person(self.scene.processes[at], mail.link, what, password)
            self._goes_on(1)

    @rule(password=PASSWORD, at=EITHER)
    def a_person_comes_in(self, password: str, at: int) -> None:
        if mail := _one(-1, self.scene.world.mails):
            self.scene.person(self.scene.processes[at], mail.link, "password", password)
            self._goes_on(1)
            self.the_code_is_used()

    @rule(passwords=st.lists(st.sampled_from(PASSWORDS), min_size=2, max_size=2), at=EITHER)
    def two_race_with_one_link(self, passwords: list[str], at: int) -> None:
        if mail := _one(-1, self.scene.world.mails):
            for number, password in enumerate(passwords):
                self.scene.person(self.scene.processes[(at + number) % 2], mail.link, "password", password)

    @rule(which=WHICH, outcome=st.sampled_from(["delivered", "bounced"]), at=EITHER)
    def a_provider_tells_what_became_of_a_mail(self, which: int, outcome: Outcome, at: int) -> None:
        if mail := _one(which, self.scene.world.mails):
            self.scene.processes[at].hears(mail, outcome)

    @rule()
    def the_code_is_used(self) -> None:
        if self.scene.codes:
            self.scene.use_code(self.scene.codes.pop())

    @rule(email=EMAIL, password=PASSWORD)
    def somebody_signs_in(self, email: str, password: str) -> None:
        self.scene.sign_in(email, password)

    # --- time -------------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.01, 0.1, 1, 1, 10, 10, 70, 200]))
    def time_passes(self, seconds: float) -> None:
        self._goes_on(seconds)

    @rule(steps=st.integers(1, 60))
    def a_few_steps_are_taken(self, steps: int) -> None:
        self.scene.world.loop.run_steps(steps)
        self.scene.check()

    @rule()
    def links_run_out(self) -> None:
        if self.scene.world.mails and self.scene.world.loop.time() < 3600:
            self._goes_on(11 * 60)

    # --- faults -----------------------------------------------------------------------------------------------------

    @rule(at=EITHER, after=st.integers(0, 200))
    def a_process_is_killed(self, at: int, after: int) -> None:
        owner = self.scene.processes[at].owner
        if after == 0:
            self.scene.world.kill(owner)
        else:
            owner.dies_after = after

    @rule(at=EITHER)
    def a_process_is_restarted(self, at: int) -> None:
        self.scene.restart(at)

    @rule(at=EITHER)
    def a_process_is_asked_to_end(self, at: int) -> None:
        process = self.scene.processes[at]
        if not process.owner.dead:
            self.scene.world.spawn(process.drain(), process.owner)

    @rule(at=EITHER, seconds=st.sampled_from([0, 20, 70, 200]))
    def a_process_is_stopped_for_a_while(self, at: int, seconds: float) -> None:
        owner = self.scene.processes[at].owner
        self.scene.world.stop(owner)
        self._goes_on(seconds)
        if seconds:
            self.scene.world.go_on(owner)

    @rule(at=EITHER)
    def a_process_goes_on(self, at: int) -> None:
        self.scene.world.go_on(self.scene.processes[at].owner)

    @rule(point=st.sampled_from(POINTS), effect=EFFECT, passes=st.integers(1, 6))
    def something_will_go_wrong(self, point: str, effect: Any, passes: int) -> None:
        self.scene.world.fuses.append(Fuse(point, effect, passes))

    @rule(mode=st.sampled_from(["up", "up", "silent", "deaf"]))
    def the_database(self, mode: Any) -> None:
        self.scene.world.set_database(mode)

    @rule(mode=st.sampled_from(MAIL_MODES))
    def the_mail_server(self, mode: Any) -> None:
        self.scene.world.mail_mode = mode

    @rule(modes=st.lists(st.sampled_from(MAIL_MODES), min_size=1, max_size=4))
    def the_next_mails(self, modes: list[Any]) -> None:
        self.scene.world.next_mail += modes

    @rule(up=st.booleans())
    def the_broker(self, up: bool) -> None:
        if up and not self.scene.broker.up:
            self.scene.broker.come_up()
        elif not up:
            self.scene.broker.go_down()

    @rule(refuses=st.booleans(), drops=st.booleans(), disorderly=st.booleans(), doubles=st.integers(0, 5))
    def the_broker_is_unkind(self, refuses: bool, drops: bool, disorderly: bool, doubles: int) -> None:
        broker = self.scene.broker
        broker.refuses, broker.drops_confirms, broker.disorderly, broker.doubles = refuses, drops, disorderly, doubles

    @rule(which=WHICH, cancel=st.booleans())
    def a_connection_is_lost(self, which: int, cancel: bool) -> None:
        broker = self.scene.broker
        if broker.connections:
            connection = broker.connections[which % len(broker.connections)]
            if cancel:
                broker.cancel_consumers(connection)
            else:
                broker.drop(connection)

    @rule(answers=st.booleans())
    def the_directory_answers(self, answers: bool) -> None:
        self.scene.world.directory_answers = answers

    @rule(restart=st.booleans())
    def the_directory_crashes(self, restart: bool) -> None:
        self.scene.directory.crash()
        if restart:
            self.scene.directory.restart()

    # --- replay and rest --------------------------------------------------------------------------------------------

    @rule(origin=st.sampled_from(["log", "parked"]), at=EITHER)
    def an_operator_replays(self, origin: str, at: int) -> None:
        if self.scene.broker.log and not self.scene.processes[at].owner.dead:
            self.scene.replay(origin, self.scene.processes[at])

    @rule()
    def the_faults_end(self) -> None:
        self.scene.end_faults()

    @rule()
    def the_world_comes_to_rest(self) -> None:
        self.scene.rest()
        self.scene.check_at_rest()

    def teardown(self) -> None:
        if not hasattr(self, "scene"):
            return
        try:
            if sys.exc_info()[0] is None:
                self.scene.rest()
                self.scene.check_at_rest()
                self.scene.replaying_all_changes_nothing()
                self.scene.check_at_rest()
                self.scene.rebuilding_brings_all_back()
        finally:
            self.scene.close()

    def _goes_on(self, seconds: float) -> None:
        self.scene.world.loop.run_for(seconds)
        self.scene.check()


def _one(which: int, there: Sequence[Thing]) -> Thing | None:
    """One of those that there are, if there are any."""
    return there[which % len(there)] if there else None


def hold(life: type[Life], *, examples: int, steps: int = STEPS, phases: Sequence[Phase] = PHASES) -> None:
    """Live through that many lives. The same ones in every run, unless a long run was asked for."""
    run_state_machine_as_test(
        life,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=not LONG,
            database=None,
            deadline=None,
            phases=phases,
            print_blob=True,
            report_multiple_bugs=False,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
        ),
    )


@pytest.mark.timeout(900)
def test_the_promise_holds() -> None:
    hold(Life, examples=int(LONG or 150))


@pytest.mark.timeout(900)
@pytest.mark.database
def test_the_promise_holds_on_the_real_store(mongo_url: str) -> None:
    # Real threads take their own time, so a failure may not come again: what happened is kept from the first time.
    found: list[Violated] = []

    class LifeOnMongoDB(Life):
        @staticmethod
        def make_scene(seed: int) -> Scene:
            return Scene(seed, lambda world, on_commit: MongoDatabase.begin(world, mongo_url, on_commit), found.append)

    hold(LifeOnMongoDB, examples=int(LONG or 150) // 10, steps=STEPS // 2, phases=[Phase.generate])
    assert not found, str(found[0])
