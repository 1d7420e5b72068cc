"""One whole way in, and a crash, a stop or an outage at each place where one can be: systematically, not by chance."""

from __future__ import annotations

import os
from typing import Any, get_args

import pytest

from tests.model.scene import EMAILS, PASSWORDS, Scene
from tests.model.test_promise import POINTS
from tests.model.world import Effect, Fuse

# All of them in a long run, otherwise as many as take some seconds.
LONG = bool(os.environ.get("CONVIVE_MODEL_EXAMPLES"))
STEPS = range(1, 1200, 1 if LONG else 12)
PASSES = [*range(1, 10), *range(10, 40, 1 if LONG else 4)]


def way_in(scene: Scene) -> None:
    """One person never clicks; another comes in by two links; a third one's link is sent anew twice, then revoked."""

    def soon() -> None:
        scene.world.loop.run_for(0.3)

    def newest() -> str:
        return scene.world.mails[-1].link if scene.world.mails else ""

    first, second = scene.processes
    scene.invite_foreign(EMAILS[2], in_order=True)
    soon()
    guest = scene.invite_foreign(EMAILS[0], in_order=True)
    soon()
    if newest():
        scene.person(second, newest(), "open", PASSWORDS[0])
        soon()
        scene.person(first, newest(), "password", PASSWORDS[0])
        soon()
    if scene.codes:
        scene.use_code(scene.codes.pop())
        soon()
    scene.invite_own(EMAILS[0], "email")
    soon()
    if newest():
        scene.person(first, newest(), "accept", PASSWORDS[0])
        soon()
    other = scene.invite_foreign(EMAILS[1], in_order=False)
    soon()
    scene.request(other, "resend")
    soon()
    scene.operate(first, other, "resend")
    soon()
    scene.request(other, "revoke")
    scene.say(guest, "removed")
    soon()


def comes_out_right(scene: Scene) -> None:
    scene.rest()
    invitations = scene.check_at_rest()
    # One fault is no reason to give up on anybody.
    failed = [id for id, invitation in invitations.items() if invitation.state == "failed"]
    assert not failed, "\n".join(scene.world.trace)
    scene.replaying_all_changes_nothing()
    scene.check_at_rest()


@pytest.mark.timeout(900)
def test_a_crash_at_any_step_of_a_process_leaves_nothing_wrong() -> None:
    for steps in STEPS:
        scene = Scene(steps)
        try:
            scene.processes[steps % 2].owner.dies_after = steps
            way_in(scene)
            comes_out_right(scene)
        finally:
            scene.close()


TROUBLE = [
    (point, effect)
    for point in POINTS
    for effect in get_args(Effect)
    if effect != "away" or point.startswith(("save", "load", "due"))
]


@pytest.mark.parametrize(("point", "effect"), TROUBLE)
def test_trouble_at_any_point_leaves_nothing_wrong(point: str, effect: Any) -> None:
    for passes in PASSES:
        scene = Scene(passes)
        try:
            fuse = Fuse(point, effect, passes)
            scene.world.fuses.append(fuse)
            way_in(scene)
            blown = fuse not in scene.world.fuses
            comes_out_right(scene)
        finally:
            scene.close()
        if not blown:
            return
