"""/metrics says what the progress says: names, labels, absence, bounds."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from cartridge_warp import metrics
from cartridge_warp.engine.progress import Progress
from cartridge_warp.engine.views import Counts, Phase
from cartridge_warp.errors import Fenced, SourceUnavailable
from cartridge_warp.model import BatchState

Key = tuple[str, tuple[tuple[str, str], ...]]
SHOP = {"database": "shop_db", "schema": "shop"}
ORDERS = SHOP | {"table": "orders"}


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def scrape(progress: Progress) -> dict[Key, float]:
    """Parsed by the client library's own parser: what it refuses, Prometheus does."""
    return parse(metrics.exposition(progress.snapshot)()[1].decode())


def parse(text: str) -> dict[Key, float]:
    found: dict[Key, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, "the same sample twice"
            found[key] = sample.value
    return found


def named(name: str, labels: dict[str, str]) -> Key:
    return f"cartridge_warp_{name}", tuple(sorted(labels.items()))


def busy() -> Progress:
    progress = Progress(Clock())
    schema = progress.schema("shop", "shop_db")
    schema.phase(Phase.COPYING)
    schema.table("Orders", Phase.COPYING, table="orders", expected=100)
    schema.committed("Orders", Counts(read=27, copied=25, dead_letters=2, rescued=4))
    return progress


def test_every_operation_has_its_count() -> None:
    progress = busy()
    progress.schema("shop").committed(
        "Orders", Counts(read=12, applied=7, deleted=3, superseded=4, ignored=1)
    )
    found = scrape(progress)
    got = {
        operation: found[
            named("records_processed_total", ORDERS | {"operation": operation})
        ]
        for operation in (
            *("copy", "upsert", "delete"),
            *("superseded", "ignored", "dead_letter"),
        )
    }
    assert got == {
        "copy": 25,
        "upsert": 4,
        "delete": 3,
        "superseded": 4,
        "ignored": 1,
        "dead_letter": 2,
    }
    assert sum(got.values()) == 27 + 12
    assert found[named("type_conversion_warnings_total", ORDERS)] == 4
    assert found[named("dead_letters_total", ORDERS)] == 2


def test_a_batch_table_has_a_lag_of_its_own() -> None:
    progress = busy()
    schema = progress.schema("shop")
    schema.table("Users", Phase.READING, table="users", expected=10)
    users = SHOP | {"table": "users"}
    assert named("batch_next_pass", users) not in scrape(progress)
    schema.passed("Users", BatchState(), 0.0)
    found = scrape(progress)
    assert found[named("batch_passes_total", users)] == 0
    assert named("batch_lag_seconds", users) not in found
    schema.passed("Users", BatchState(passes=3, began=940.0, unread=7), 1_030.0)
    found = scrape(progress)
    assert found[named("batch_passes_total", users)] == 3
    assert found[named("batch_lag_seconds", users)] == 60
    assert found[named("batch_next_pass", users)] == 1_030
    assert found[named("batch_unread_documents", users)] == 7
    assert found[named("snapshot_progress_ratio", users)] == 1
    assert named("batch_passes_total", ORDERS) not in found


def test_a_schema_in_batch_mode_is_at_work() -> None:
    progress = busy()
    for phase in (Phase.READING, Phase.WAITING):
        progress.schema("shop").phase(phase)
        assert scrape(progress)[named("sync_status", SHOP)] == 1


def test_lag_is_absent_until_it_is_known() -> None:
    progress = busy()
    lag = named("lag_seconds", SHOP)
    assert lag not in scrape(progress)
    progress.schema("shop").heard(107 << 32, queued=3)
    assert lag not in scrape(progress)
    progress.schema("shop").moved(100 << 32, seconds=0.5)
    found = scrape(progress)
    assert found[lag] == 7
    assert found[named("queue_size", SHOP)] == 3
    progress.schema("shop").heard(107 << 32, queued=0, idle=True)
    assert scrape(progress)[lag] == 0


def test_batch_durations_are_counted_and_summed() -> None:
    progress = busy()
    progress.schema("shop").moved(100 << 32, seconds=0.5)
    progress.schema("shop").moved(101 << 32, seconds=0.25)
    found = scrape(progress)
    name = "batch_processing_duration_seconds"
    assert found[named(f"{name}_count", SHOP)] == 2
    assert found[named(f"{name}_sum", SHOP)] == 0.75


def test_batch_durations_fall_into_buckets() -> None:
    progress = busy()
    for seconds in (0.0004, 0.001, 0.02, 7.0, 61.0):
        progress.schema("shop").moved(100 << 32, seconds=seconds)
    found = scrape(progress)
    name = "batch_processing_duration_seconds_bucket"
    buckets = {
        bound: found[named(name, SHOP | {"le": bound})]
        for bound in ("0.001", "0.01", "0.025", "5.0", "10.0", "60.0", "+Inf")
    }
    assert buckets == {
        **{"0.001": 2, "0.01": 2, "0.025": 3},
        **{"5.0": 3, "10.0": 4, "60.0": 4, "+Inf": 5},
    }


def test_what_a_look_finds_is_absent_until_then() -> None:
    progress = busy()
    schema = progress.schema("shop")
    schema.moved(1000 << 32)
    pending = named("dead_letters_pending", ORDERS)
    headroom = named("oplog_headroom_seconds", SHOP)
    assert not {pending, headroom} & set(scrape(progress))
    schema.looked(400 << 32 | 7, {"orders": 3})
    found = scrape(progress)
    assert (found[pending], found[headroom]) == (3, 600)
    schema.looked(None, {})
    found = scrape(progress)
    assert found[pending] == 0
    assert headroom not in found
    schema.looked(1 << 32, None)
    assert pending not in scrape(progress)


def test_fences_are_counted_from_zero() -> None:
    progress = busy()
    fenced = named("fenced_total", SHOP)
    assert scrape(progress)[fenced] == 0
    progress.schema("shop").failed(Fenced("another process"))
    assert scrape(progress)[fenced] == 1


def test_the_ratio_of_the_copy_reaches_one_only_when_the_copy_is_over() -> None:
    progress = busy()
    ratio = named("snapshot_progress_ratio", ORDERS)
    assert scrape(progress)[ratio] == 0.25
    progress.schema("shop").committed("Orders", Counts(read=200, copied=200))
    assert 0.99 < scrape(progress)[ratio] < 1
    progress.schema("shop").table("Orders", Phase.STREAMING)
    assert scrape(progress)[ratio] == 1


def test_an_empty_collection_has_no_ratio() -> None:
    progress = Progress(Clock())
    progress.schema("shop", "shop_db").table("void", Phase.EMPTY)
    names = {name for name, _ in scrape(progress)}
    assert "cartridge_warp_snapshot_progress_ratio" not in names
    assert "cartridge_warp_records_processed_total" in names


def test_status_and_errors() -> None:
    progress = busy()
    status = named("sync_status", SHOP)
    assert scrape(progress)[status] == 1
    schema = progress.schema("shop")
    schema.retrying(SourceUnavailable("away: mongodb://u:canary@h/"))
    schema.failed(SourceUnavailable("away"))
    found = scrape(progress)
    assert found[status] == -1
    kind = {"error_type": "SourceUnavailable"}
    assert found[named("error_count_total", SHOP | kind)] == 2
    assert found[named("retries_total", SHOP)] == 1


def test_no_text_of_an_error_reaches_a_label() -> None:
    progress = busy()
    progress.schema("shop").retrying(SourceUnavailable("mongodb://u:canary@h/"))
    progress.schema("shop").failed(SourceUnavailable("_id canary"), "Orders")
    text = metrics.exposition(progress.snapshot)()[1]
    assert b"SourceUnavailable" in text
    assert b"canary" not in text


def test_rates_need_two_scrapes_and_survive_a_second_scraper() -> None:
    clock = Clock()
    progress = Progress(clock)
    schema = progress.schema("shop", "shop_db")
    schema.table("Orders", Phase.COPYING, table="orders", expected=100)
    expose = metrics.exposition(progress.snapshot)
    rate = named("processing_rate", ORDERS)
    assert rate not in parse(expose()[1].decode())
    schema.committed("Orders", Counts(read=50, copied=50))
    clock.now += 10
    assert parse(expose()[1].decode())[rate] == 5
    clock.now += 0.1
    assert parse(expose()[1].decode())[rate] == 5
    clock.now += 10
    assert parse(expose()[1].decode())[rate] == 0


def test_rows_of_earlier_runs_are_no_rate() -> None:
    clock = Clock()
    progress = Progress(clock)
    schema = progress.schema("shop", "shop_db")
    expose = metrics.exposition(progress.snapshot)
    expose()
    before = Counts(read=9000, copied=9000)
    schema.table("Orders", Phase.COPYING, table="orders", counts=before)
    clock.now += 10
    rate = named("processing_rate", ORDERS)
    assert rate not in parse(expose()[1].decode())
    schema.committed("Orders", Counts(read=100, copied=100))
    clock.now += 10
    assert parse(expose()[1].decode())[rate] == 10


def test_the_number_of_series_is_bounded() -> None:
    progress = Progress(Clock())
    schema = progress.schema("shop", "shop_db")
    for number in range(metrics.MAX_TABLES + 50):
        schema.committed(f"t{number}", Counts(read=1, copied=1))
    found = scrape(progress)
    tables = {dict(labels).get("table") for _, labels in found} - {None}
    assert len(tables) == metrics.MAX_TABLES + 1
    others = SHOP | {"table": metrics.OTHERS, "operation": "copy"}
    assert found[named("records_processed_total", others)] == 50


def test_two_collections_with_one_label_are_one_sample() -> None:
    progress = busy()
    progress.schema("shop").committed("orders", Counts(read=1, copied=1))
    found = scrape(progress)
    copied = named("records_processed_total", ORDERS | {"operation": "copy"})
    assert found[copied] == 26


def test_the_list_is_what_is_exposed() -> None:
    """A metric without a sample here, or a sample without an entry, is a mistake."""
    progress = busy()
    schema = progress.schema("shop")
    schema.retrying(SourceUnavailable("away"))
    schema.heard(107 << 32, queued=0)
    schema.moved(100 << 32, seconds=0.5)
    schema.looked(1 << 32, {})
    schema.table("Users", Phase.WAITING, table="users")
    schema.passed("Users", BatchState(began=990.0), 1_020.0)
    clock = progress._clock
    assert isinstance(clock, Clock)
    expose = metrics.exposition(progress.snapshot)
    expose()
    clock.now += 5
    seen: dict[str, set[str]] = {}
    for name, labels in parse(expose()[1].decode()):
        base = name.removesuffix("_count").removesuffix("_sum")
        base = base.removesuffix("_bucket")
        seen.setdefault(base, set()).update(set(dict(labels)) - {"le"})
    assert seen == {each.full_name: set(each.labels) for each in metrics.METRICS}


def test_the_text_has_type_and_help_of_each_metric() -> None:
    media, text = metrics.exposition(busy().snapshot)()
    assert media.startswith("text/plain")
    for metric in metrics.METRICS:
        assert f"# TYPE {metric.full_name} {metric.kind}\n".encode() in text
        assert f"# HELP {metric.full_name} {metric.help}\n".encode() in text
