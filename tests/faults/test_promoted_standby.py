"""A standby takes the primary's place, and lacks what had not reached it yet.

What is stored there is older, but of one moment: the rows, the chunks and the position
belong together, and whoever begins there loses nothing. The process that wrote to the
former primary knows more than is stored, and must end.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

import totals
from kit import META, SCHEMA, MakeScene, Scene, wait_until
from own_postgres import OwnPostgres
from proxy import Proxy
from standby import Standby
from syncing import Sync
from toxics import Latency

pytestmark = [pytest.mark.faults, pytest.mark.slow]

FENCED = 7


class Pair:
    """A primary, its standby, and the address at which syncs find one of them."""

    def __init__(self, scene: Scene, primary: OwnPostgres, proxy: Proxy) -> None:
        self.scene = scene
        self.primary = primary
        self.standby = Standby(primary)
        self._proxy = proxy

    def fail_over(self) -> None:
        """The primary is lost, with what the standby has not got."""
        self.primary.kill()
        totals.count("servers killed", "postgresql kill")
        self.standby.start()
        self.standby.promote()
        self.scene.places = self.scene.places._replace(postgres=self.standby.uri)
        port = urlsplit(self.standby.uri).port
        assert port is not None
        self._proxy.lead_to(port)


@pytest.fixture
def pair(make_scene: MakeScene) -> Iterator[Pair]:
    with OwnPostgres() as primary:
        scene = make_scene(primary.uri)
        port = urlsplit(primary.uri).port
        assert port is not None
        with Proxy(port, postgresql=True) as proxy:
            scene.through_postgres(proxy)
            made = Pair(scene, primary, proxy)
            with made.standby:
                yield made
                # What is left of a failed test's syncs has to let the proxy go.
                scene.end()


def is_fenced(sync: Sync) -> None:
    assert sync.wait() == FENCED, sync.tail()
    (error,) = [line for line in sync.said() if line.startswith("error: ")]
    assert "standby" in error, error
    totals.count("fenced", "after a promotion")


def goes_on(scene: Scene) -> None:
    sync = scene.start()
    scene.streaming()
    with scene.writers.writing():
        time.sleep(2)
    scene.recovers(sync)


@pytest.mark.parametrize("lost", [True, False], ids=["some lost", "nothing lost"])
def test_batches_that_the_standby_has_not_got(pair: Pair, lost: bool) -> None:
    scene = pair.scene
    scene.writers.fill(300)
    sync = scene.start()
    scene.streaming()
    with scene.writers.writing():
        time.sleep(2)
        if lost:
            pair.standby.crash()
            time.sleep(3)
    if not lost:
        scene.catches_up()
        pair.standby.follows()
        pair.standby.crash()
    before = markers(pair.primary)
    pair.fail_over()
    is_fenced(sync)
    assert (markers(pair.standby) != before) is lost
    goes_on(scene)


@pytest.mark.parametrize("rest", [True, False], ids=["some are left", "the last ones"])
def test_chunks_that_the_standby_has_not_got(pair: Pair, rest: bool) -> None:
    """No marker tells of them: the same epoch, and every ``seq`` as it was.

    Where the copy was complete nothing would ever ask for them again.
    """
    scene, primary = pair.scene, pair.primary
    for number in range(60):
        documents = [{"_id": n, "n": n} for n in range(40)]
        scene.db[f"part_{number:02}"].insert_many(documents)
    port = urlsplit(scene.places.mongo).port
    assert port is not None
    with Proxy(port) as slow:
        scene.through_mongodb(slow)
        sync = scene.start()
        scene.runs(sync)
        wait_until(lambda: scene.has_table("part_59"), "the tables are there", pause=0)
        slow.use(Latency(0.5))
        # A lane that rests commits its place every ten seconds: in between nothing.
        first = markers(primary)
        wait_until(lambda: markers(primary) != first, "a marker moves")
        pair.standby.follows()
        pair.standby.crash()
        before, had = markers(primary), chunks_done(primary)
        if not rest:
            slow.clear()
        wanted = had + 2 if rest else 60
        wait_until(
            lambda: chunks_done(primary) >= wanted, "more chunks are done", pause=0.02
        )
        done, still = chunks_done(primary), markers(primary)
        pair.fail_over()
        slow.clear()
        assert before == still == markers(pair.standby)
        assert chunks_done(pair.standby) < done
        is_fenced(sync)
        goes_on(scene)


def markers(server: OwnPostgres) -> list[tuple[object, ...]]:
    """Epoch and ``seq`` of every lane."""
    return server.run(f"SELECT epoch, seq FROM {META}.sync_markers ORDER BY lane")


def chunks_done(server: OwnPostgres) -> int:
    query = f"SELECT count(*)::int FROM {META}.snapshot_chunks WHERE state = 'done'"
    ((done,),) = server.run(query)
    assert isinstance(done, int)
    return done


def test_an_owner_that_the_standby_does_not_know(pair: Pair) -> None:
    """It was the first ever, and has made everything there was."""
    scene = pair.scene
    pair.standby.follows()
    pair.standby.crash()
    scene.writers.fill(300)
    sync = scene.start()
    scene.streaming()
    pair.fail_over()
    is_fenced(sync)
    assert not scene.has_table("orders")
    goes_on(scene)


def test_a_frozen_owner_does_not_meet_its_own_epoch_again(pair: Pair) -> None:
    """The one that begins on the standby takes the number that the frozen one has."""
    scene = pair.scene
    scene.writers.fill(300)
    scene.once()
    pair.standby.follows()
    pair.standby.crash()
    frozen = scene.start()
    scene.streaming()
    frozen.freeze()
    ((epoch, *_),) = pair.primary.run(f"SELECT max(epoch) FROM {META}.sync_markers")
    pair.fail_over()
    sync = scene.start()
    scene.streaming()
    query = f"SELECT max(epoch) FROM {META}.sync_markers"
    assert pair.standby.run(query) == [(epoch,)]
    with scene.writers.writing():
        time.sleep(1)
        frozen.thaw()
        is_fenced(frozen)
        time.sleep(1)
    assert scene.rows(f"SELECT count(*) > 0 FROM {SCHEMA}.orders") == [(True,)]
    scene.recovers(sync)
