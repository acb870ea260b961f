"""The proxy harms as it says, and otherwise passes every byte."""

from __future__ import annotations

import contextlib
import gc
import random
import socket
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from cartridge_warp import embedded
from proxy import Proxy
from toxics import (
    Bandwidth,
    CommitCut,
    Cut,
    Down,
    Latency,
    LimitData,
    ResetPeer,
    Slicer,
    SlowClose,
    Timeout,
    Toxic,
    Way,
)
from wire import Frontend, Piece

pytestmark = pytest.mark.faults

BYTES = random.Random(7).randbytes(300_000)


def echo_one(peer: socket.socket) -> None:
    with peer, contextlib.suppress(OSError):
        while data := peer.recv(65_536):
            peer.sendall(data)


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    peer, _ = listener.accept()
                    threading.Thread(target=echo_one, args=(peer,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(echo: int) -> Iterator[Proxy]:
    with Proxy(echo) as running:
        yield running


def connect(proxy: Proxy) -> socket.socket:
    peer = socket.create_connection(("127.0.0.1", proxy.port))
    peer.settimeout(20)
    return peer


def echoed(peer: socket.socket, data: bytes) -> bytes:
    """What comes back, until all of it is there or the connection ends."""
    threading.Thread(target=_send, args=(peer, data), daemon=True).start()
    return received(peer, len(data))


def _send(peer: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        peer.sendall(data)


def received(peer: socket.socket, size: int) -> bytes:
    got = bytearray()
    with contextlib.suppress(ConnectionError):
        while len(got) < size and (data := peer.recv(65_536)):
            got += data
    return bytes(got)


@pytest.mark.parametrize(
    ("toxic", "size"),
    [
        (Toxic(), len(BYTES)),
        (Latency(0.01, 0.01), len(BYTES)),
        (Bandwidth(1_000_000), 100_000),
        (SlowClose(0.1), len(BYTES)),
        (Slicer(1), 5_000),
        (Slicer(1000, 0.001), 30_000),
    ],
)
def test_what_only_slows_loses_nothing(proxy: Proxy, toxic: Toxic, size: int) -> None:
    proxy.use(toxic)
    with connect(proxy) as peer:
        assert echoed(peer, BYTES[:size]) == BYTES[:size]


def test_latency_and_bandwidth_end_with_their_toxic(proxy: Proxy) -> None:
    for toxic in (Latency(600), Bandwidth(20)):
        with connect(proxy) as peer:
            proxy.use(toxic)
            peer.sendall(BYTES[:1000])
            time.sleep(0.1)
            proxy.clear()
            assert received(peer, 1000) == BYTES[:1000]


def test_down_ends_links_and_refuses_new_ones_until_it_is_over(proxy: Proxy) -> None:
    with connect(proxy) as peer:
        assert echoed(peer, b"one") == b"one"
        with proxy.suffering(Down()):
            assert received(peer, 1) == b""
            with connect(proxy) as other:
                assert received(other, 1) == b""
        with connect(proxy) as other:
            assert echoed(other, b"two") == b"two"


def test_a_reset_is_a_reset(proxy: Proxy) -> None:
    with connect(proxy) as peer:
        assert echoed(peer, b"one") == b"one"
        proxy.use(ResetPeer(0.1))
        with pytest.raises(ConnectionResetError):
            peer.recv(1)


def test_timeout_swallows_and_ends(proxy: Proxy) -> None:
    proxy.use(Timeout(0.3))
    with connect(proxy) as peer:
        assert echoed(peer, b"one") == b""


def test_a_link_that_lost_bytes_ends_with_the_toxic(proxy: Proxy) -> None:
    with connect(proxy) as peer:
        proxy.use(Timeout(600))
        peer.sendall(b"one")
        time.sleep(0.2)
        proxy.clear()
        with pytest.raises(ConnectionResetError):
            peer.recv(1)


@pytest.mark.parametrize("reset", [False, True])
def test_limit_data_ends_in_the_middle(proxy: Proxy, reset: bool) -> None:
    proxy.use(LimitData(100_001, 7, way=Way.DOWN, reset=reset))
    for limit in (100_001, 7, 7):
        with connect(proxy) as peer:
            got = echoed(peer, BYTES)
        # RST throws away what the other end has not read yet.
        assert len(got) <= limit if reset else got == BYTES[:limit]


def test_slow_close_keeps_the_other_side_waiting(proxy: Proxy) -> None:
    proxy.use(SlowClose(600))
    with connect(proxy) as peer:
        assert echoed(peer, b"one") == b"one"
    time.sleep(0.2)
    assert proxy.links() == 1
    proxy.clear()
    deadline = time.monotonic() + 20
    while proxy.links() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert proxy.links() == 0


@pytest.mark.parametrize("toxic", [Toxic(), Down(), Timeout(600), ResetPeer()])
def test_no_link_outlives_the_proxy(echo: int, toxic: Toxic) -> None:
    """Wherever they are when it ends: what is left open would warn when it is freed."""
    for links in range(1, 30):
        with contextlib.ExitStack() as peers:
            with Proxy(echo) as proxy:
                proxy.use(toxic)
                for number in range(links):
                    peer = peers.enter_context(connect(proxy))
                    _send(peer, b"one")
                    if number % 2:
                        peer.close()
        gc.collect()
        with pytest.raises(ConnectionRefusedError):
            connect(proxy)


def message(kind: bytes, body: bytes) -> bytes:
    return kind + (len(body) + 4).to_bytes(4, "big") + body


SSL_REQUEST = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")
START = (13).to_bytes(4, "big") + (196608).to_bytes(4, "big") + b"user\0"
COPY_DATA = message(b"d", b"COMMIT\0" * 1000)
COMMIT = message(b"Q", b"COMMIT\0")
PARSED = (
    message(b"P", b"c\0commit;\0\0\0")
    + message(b"B", b"\0c\0\0\0\0\0\0\0")
    + message(b"E", b"\0\0\0\0\0")
    + message(b"S", b"")
)
AGAIN = message(b"B", b"\0c\0\0\0\0\0\0\0") + message(b"S", b"")
OTHERS = message(b"Q", b"SELECT 'COMMIT'\0") + message(b"S", b"") + COPY_DATA
SPOKEN = (
    SSL_REQUEST + START + OTHERS + COMMIT + OTHERS + PARSED + AGAIN + COMMIT + OTHERS
)


@pytest.mark.parametrize("size", [1, 3, 5, 1000, len(SPOKEN)])
def test_a_commit_is_found_however_it_is_sliced(size: int) -> None:
    frontend = Frontend()
    pieces: list[Piece] = []
    for at in range(0, len(SPOKEN), size):
        pieces += frontend.feed(SPOKEN[at : at + size])
    assert b"".join(piece.data for piece in pieces) == SPOKEN
    assert [piece.data for piece in pieces if piece.commit] == [
        COMMIT,
        PARSED,
        AGAIN,
        COMMIT,
    ]


@pytest.mark.parametrize(
    ("cut", "kept"), [(Cut.BEFORE, [0]), (Cut.AFTER, [1]), (Cut.RACING, [0, 1])]
)
@pytest.mark.parametrize("extended", [False, True])
def test_a_commit_is_cut(
    postgres_server: embedded.PostgresServer,
    postgres_uri: str,
    cut: Cut,
    kept: list[int],
    extended: bool,
) -> None:
    with (
        psycopg.connect(postgres_uri, autocommit=True) as direct,
        Proxy(postgres_server.port, postgresql=True) as proxy,
    ):
        direct.execute("CREATE TABLE things (n int)")
        through = postgres_uri.replace(f":{postgres_server.port}", f":{proxy.port}")
        toxic = CommitCut(cut, times=1)
        proxy.use(toxic)
        with psycopg.connect(through, autocommit=True) as connection:
            connection.execute("BEGIN")
            connection.execute("INSERT INTO things VALUES (1)")
            # Binary results are what makes the driver speak the extended protocol.
            with pytest.raises(psycopg.OperationalError):
                connection.execute("COMMIT", binary=extended)
        assert toxic.cuts == 1
        rows = direct.execute("SELECT count(*) FROM things").fetchone()
        assert rows is not None
        assert rows[0] in kept
        with psycopg.connect(through) as connection:
            connection.execute("INSERT INTO things VALUES (2)")
        row = direct.execute("SELECT 1 FROM things WHERE n = 2").fetchone()
        assert row == (1,)
