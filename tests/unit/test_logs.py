"""The log: two styles, run id and schema everywhere, no credential, no data."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from cartridge_warp import logs

PASSWORD = "canary-S3cret"
URI = f"mongodb://reader:{PASSWORD}@db.example:27017/shop?replicaSet=rs0"
TOKEN = "8263F1A2B3000000012B022C0100296E5A1004" + "AB" * 16
OBJECT_ID = "65f0a1b2c3d4e5f6a7b8c9d0"

Lines = Callable[[], list[dict[str, object]]]


@pytest.fixture(autouse=True)
def _untouched_root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logs.forget()


def start(level: str = "INFO") -> Lines:
    out = io.StringIO()
    logs.configure(level=level, style="json", run_id="run-1", stream=out)
    return lambda: [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_json_line_has_level_logger_time_and_run_id() -> None:
    lines = start()
    logging.getLogger("cartridge_warp.x").info("copied %d rows", 7)
    (line,) = lines()
    assert line["event"] == "copied 7 rows"
    assert line["level"] == "info"
    assert line["logger"] == "cartridge_warp.x"
    assert line["run_id"] == "run-1"
    assert str(line["timestamp"]).endswith("Z")


def test_schema_is_added_inside_its_context_only() -> None:
    lines = start()
    with logs.context(schema="shop"):
        logging.getLogger("x").info("inside")
    logging.getLogger("x").info("outside")
    inside, outside = lines()
    assert inside["schema"] == "shop"
    assert "schema" not in outside


def test_a_new_thread_still_has_the_run_id() -> None:
    lines = start()
    thread = threading.Thread(target=logging.getLogger("x").info, args=("hello",))
    thread.start()
    thread.join()
    assert lines()[0]["run_id"] == "run-1"


def test_extra_fields_are_fields() -> None:
    lines = start()
    logging.getLogger("x").info("flush", extra={"table": "orders", "rows": 3})
    assert lines()[0]["table"] == "orders"
    assert lines()[0]["rows"] == 3


def test_text_style_is_one_readable_line() -> None:
    out = io.StringIO()
    logs.configure(style="text", run_id="run-1", stream=out)
    logging.getLogger("x").warning("slow: %s", "yes", extra={"schema": "shop"})
    (line,) = out.getvalue().splitlines()
    assert "slow: yes" in line
    assert "schema=shop" in line
    assert "run_id=run-1" in line


def test_auto_style_off_a_terminal_is_json() -> None:
    out = io.StringIO()
    logs.configure(style="auto", stream=out)
    logging.getLogger("x").info("hello")
    assert json.loads(out.getvalue())["event"] == "hello"


def test_level_is_kept() -> None:
    lines = start("WARNING")
    logging.getLogger("x").info("quiet")
    logging.getLogger("x").warning("loud")
    assert [line["event"] for line in lines()] == ["loud"]


def test_configuring_twice_writes_each_line_once() -> None:
    start()
    lines = start()
    logging.getLogger("x").info("once")
    assert len(lines()) == 1


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "ERROR"])
def test_no_credential_in_any_form_at_any_level(level: str) -> None:
    """The canary: every way a password has of reaching a log line."""
    lines = start("DEBUG")
    log = logging.getLogger("x")
    number = logging.getLevelName(level)
    odd = "p@ss/wo:rd-canary"
    logs.hide(f"postgresql://app:{PASSWORD}@h/db")
    log.log(number, "connecting to %s", URI)
    log.log(number, "bad port in mongodb://u:%s@h", odd)
    log.log(number, "conninfo host=h password=%s user=u", PASSWORD)
    log.log(number, "conninfo %s", {"password": PASSWORD})
    log.log(number, "invalid integer value %s for port", f"{PASSWORD}@h")
    log.log(number, "extra", extra={"uri": URI, "password": PASSWORD})
    log.log(number, "nested", extra={"settings": {"source": [URI], "pwd": PASSWORD}})
    log.log(number, "object", extra={"error": ValueError(URI)})
    try:
        raise RuntimeError(f"cannot parse {URI}")
    except RuntimeError:
        log.log(number, "traceback", exc_info=True)
    got = lines()
    assert len(got) == 9
    text = json.dumps(got)
    assert PASSWORD not in text
    assert odd not in text
    assert "wo:rd" not in text
    assert "RuntimeError" in text
    assert "db.example" in text


def test_an_escaped_password_is_hidden_in_both_forms() -> None:
    logs.hide("mongodb://u:kn%40ck%2Fkn0ck@h/")
    assert "kn@ck" not in logs.redact("password kn@ck/kn0ck refused")
    assert "kn%40ck" not in logs.redact("in kn%40ck%2Fkn0ck")


@pytest.mark.parametrize(
    "text",
    [
        "password authentication failed for user app",
        "source.password: unknown field, did you mean connection_string?",
        "copied 5 rows @ 10/s",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert logs.redact(text) == text


def test_data_is_shown_at_debug_only() -> None:
    lines = start("DEBUG")
    log = logging.getLogger("x")
    for write in (log.debug, log.info, log.warning, log.error):
        write("token %s", TOKEN)
        write("of %s", f"ObjectId('{OBJECT_ID}')")
        write("e", extra={"resume_token": TOKEN, "_id": OBJECT_ID, "value": 4711})
        write("duplicate key\nDETAIL:  Key (_id)=(%s) already exists.", "4711")
    got = lines()
    assert len(got) == 16
    debug = json.dumps([line for line in got if line["level"] == "debug"])
    others = json.dumps([line for line in got if line["level"] != "debug"])
    for secret in (TOKEN, OBJECT_ID, "4711"):
        assert secret in debug
        assert secret not in others
    assert "duplicate key" in others


def test_bytes_are_counted_never_shown() -> None:
    lines = start("DEBUG")
    logging.getLogger("x").debug("raw", extra={"blob": b"\x05\x00secret"})
    assert lines()[0]["blob"] == "<8 bytes>"


def test_the_drivers_stay_quiet_below_warning() -> None:
    lines = start("DEBUG")
    logging.getLogger("pymongo.command").debug("find %s", {"filter": 1})
    logging.getLogger("pymongo").warning("seen")
    assert [line["event"] for line in lines()] == ["seen"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "write mongodb://USER:PASSWORD@HOST:27017/DATABASE, where",
            "write mongodb://USER:PASSWORD@HOST:27017/DATABASE, where",
        ),
        ("postgresql://USER:PASSWORD@HOST/d", "postgresql://USER:PASSWORD@HOST/d"),
        ("mongodb://USER:PASSWORD@HOSTcanary@h/d", "mongodb://***@h/d"),
        ("mongodb://USER:PASSWORD@h/d", "mongodb://***@h/d"),
        ("run: sync postgresql://u@h/d --x", "run: sync postgresql://u@h/d --x"),
        ("postgresql://u@canary@h/d", "postgresql://***@h/d"),
        ("postgresql://u:c/an@ary@h/d", "postgresql://***@h/d"),
        ("postgresql://u/can:ary@h/d", "postgresql://***@h/d"),
    ],
)
def test_what_holds_no_password_stays_readable(text: str, shown: str) -> None:
    assert logs.redact(text) == shown
