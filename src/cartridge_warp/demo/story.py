"""The demo from beginning to end."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

from ..errors import WarpError
from . import check, ending, files, loading, mapping, worker
from .ending import Options
from .places import Place, opened
from .screen import Screen
from .traffic import NEW_FIELD, Traffic
from .worker import METADATA, Worker

#: How long the sync may take for what should take a second or two.
_PATIENCE_SECONDS = 120.0
_Say = Callable[[str], None]


def tell(options: Options, screen: Screen) -> int:
    """The exit code: 0 when every row equals its document, else 1."""
    sources = None
    if options.data is not None:
        sources = files.collections(options.data)
        files.require_some(options.data, sources)
    screen.title("cwarp demo: a real MongoDB, a real PostgreSQL, real documents")
    with ExitStack() as stack:
        with screen.step("servers") as step:
            step.say("starting")
            place = stack.enter_context(opened(options.keep))
            step.say(f"{place.versions()} on 127.0.0.1")
        with screen.step("documents") as step:
            loading.load(place, sources, step.say)
        names = sorted(place.mongo[place.schema].list_collection_names())
        log = place.home / "sync.log"
        sync = stack.enter_context(Worker(_arguments(place), log))
        with Traffic(place.mongo, place.schema, names) as traffic:
            _copy(place, sync, traffic, screen)
            _change(place, sync, traffic, options.seconds / 2, screen)
            _kill(place, sync, traffic, options.seconds / 2, screen)
            traffic.stop()
        _catch_up(place, sync, traffic, screen)
        results = _compare(place, names, screen)
        ending.verdict(results, traffic.counts, screen)
        ending.question(place, screen)
        ending.farewell(place, options, screen)
        if options.serve:
            _serve(sync, screen)
    return 1 if any(result.differences for result in results) else 0


def _arguments(place: Place) -> tuple[str, ...]:
    return (
        *(place.source, place.destination, "--schema", place.schema),
        *("--progress", "none", "--metrics-port", "0", "--health-port", "0"),
    )


def _copy(place: Place, sync: Worker, traffic: Traffic, screen: Screen) -> None:
    with screen.step("copy") as step:
        sync.start()
        step.say("starting")
        copied = _until_copied(place, sync, traffic, step.say)
        step.say(
            f"{copied:,} documents copied by `cwarp sync` (pid {sync.pid}) "
            f"while {traffic.total:,} changes were made"
        )


def _change(
    place: Place, sync: Worker, traffic: Traffic, seconds: float, screen: Screen
) -> None:
    with screen.step("changes") as step:
        traffic.new_field()
        _watch(place, sync, traffic, seconds, step.say)
        step.say(
            f"{traffic.total:,} inserts, updates, replaces and deletes; "
            f"a new field appeared: {NEW_FIELD}"
        )


def _kill(
    place: Place, sync: Worker, traffic: Traffic, seconds: float, screen: Screen
) -> None:
    with screen.step("kill -9") as step:
        victim, before = sync.pid, traffic.total
        sync.kill()
        step.say(f"the sync (pid {victim}) is dead; changes go on")
        time.sleep(seconds / 4)
        missed = traffic.total - before
        sync.start()
        _watch(place, sync, traffic, seconds * 3 / 4, step.say)
        step.say(
            f"the sync (pid {victim}) died in the middle, {missed:,} changes were "
            f"made without it, it went on as pid {sync.pid}"
        )


def _catch_up(place: Place, sync: Worker, traffic: Traffic, screen: Screen) -> None:
    with screen.step("caught up") as step:
        step.say("waiting for the last change")
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            seen = worker.progress(place.postgres, place.schema, traffic.last_change)
            if seen.passed and seen.complete:
                break
            if time.monotonic() > deadline:
                raise WarpError("the sync did not catch up")
            sync.pause()
        step.say(f"the marker is past the last of {traffic.total:,} changes")


def _compare(place: Place, names: list[str], screen: Screen) -> list[check.Result]:
    with screen.step("compared") as step:
        mappings = mapping.read(place.postgres, METADATA, place.schema)
        results = []
        for name in names:
            step.say(f"reading {name}")
            collection = place.mongo[place.schema][name]
            result = check.compare(collection, place.postgres, mappings.get(name))
            results.append(result)
        rows = sum(result.rows for result in results)
        differences = sum(result.differences for result in results)
        step.say(f"{rows:,} rows, each with its document: {differences:,} differences")
    return results


def _until_copied(place: Place, sync: Worker, traffic: Traffic, say: _Say) -> int:
    """Wait until every collection that has documents is copied; how many that were."""
    database = place.mongo[place.schema]
    wanted = sum(
        database[name].find_one({}, {"_id": 1}) is not None for name in traffic.counts
    )
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        seen = worker.progress(place.postgres, place.schema)
        if seen.complete and seen.tables >= wanted:
            return seen.copied
        if time.monotonic() > deadline:
            raise WarpError("the sync did not finish its copy")
        say(f"{seen.copied:,} documents copied")
        traffic.check()
        sync.pause()


def _watch(
    place: Place, sync: Worker, traffic: Traffic, seconds: float, say: _Say
) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        seen = worker.progress(place.postgres, place.schema)
        say(f"{traffic.total:,} made, {seen.applied:,} applied")
        traffic.check()
        sync.pause()


def _serve(sync: Worker, screen: Screen) -> None:
    screen.say("\nMongoDB, PostgreSQL and the sync run on. Ctrl-C ends them.")
    try:
        while True:
            sync.pause()
    except KeyboardInterrupt:
        screen.say("stopping")
