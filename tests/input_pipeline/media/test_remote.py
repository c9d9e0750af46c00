"""Files of a web server that is busy, breaks off, says nothing of sizes, or sends on elsewhere."""

import http.server
import re
import threading

import pytest

from input_pipeline.examples import MediaRef
from input_pipeline.media import Decoder, MediaError, probe, read_source, remote
from tests.input_pipeline.media_fixtures import write_clip

pytest.importorskip("aiohttp")  # fsspec's client

DATA = bytes(range(256)) * 4000


class Server(http.server.ThreadingHTTPServer):
    """Serves `data` under every path; the first part of the path says how."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.data = DATA
        self.asked = []
        self.troubles = 0  # how many of the next GETs go wrong


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer(b"")

    def do_GET(self):
        self.answer(self.server.data)

    def answer(self, body):
        server = self.server
        server.asked.append(f"{self.command} {self.path}")
        way = self.path.split("/")[1]
        trouble = self.command == "GET" and server.troubles > 0
        server.troubles -= trouble
        if way == "busy" and trouble:
            return self.send_error(503)
        if way == "gone":
            return self.send_error(404)
        if way == "closed":
            return self.send_error(403)
        if way == "chunked":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for at in range(0, len(body), 50_000):
                piece = body[at : at + 50_000]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                if trouble:
                    self.close_connection = True
                    return None
            return body and self.wfile.write(b"0\r\n\r\n")
        if way in ("to", "loop"):
            self.send_response(302)
            there = self.path if way == "loop" else self.path.partition("?")[2]
            self.send_header("Location", there)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        size = len(server.data)
        asked = re.match(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if asked and way != "whole":
            body = body[int(asked[1]) : int(asked[2]) + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {asked[1]}-{asked[2]}/{size}")
            size = len(body)
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        if way == "short" and trouble:
            body = body[: len(body) // 2]
            self.close_connection = True
        return self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(remote, "_small_files", remote._KeptFiles(2**20))
    monkeypatch.setattr(remote, "_WAITS_S", (0.0, 0.0))
    server = Server()
    threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def usual_hosts():
    yield
    remote.allow_redirects(remote.REDIRECT_HOSTS)


def address(server, path, host="127.0.0.1"):
    return f"http://{host}:{server.server_port}/{path}"


def refusal(path, most=10**9):
    with pytest.raises(MediaError) as caught:
        read_source(path, most)
    return caught.value


@pytest.mark.parametrize("way", ["chunked", "plain", "whole"])
def test_all_bytes_come_however_they_are_sent(server, way):
    assert read_source(address(server, f"{way}/a.bin"), 10**9) == DATA


@pytest.mark.parametrize("way", ["busy", "short", "chunked"])
def test_trouble_that_passes_costs_nothing(server, way):
    server.troubles = 2
    assert read_source(address(server, f"{way}/a.bin"), 10**9) == DATA


@pytest.mark.parametrize("way", ["busy", "short", "chunked"])
def test_trouble_that_stays_is_the_servers(server, way):
    server.troubles = 10**9
    assert refusal(address(server, f"{way}/a.bin")).reason == "unreadable"


def test_what_is_not_there_is_asked_for_once(server):
    assert refusal(address(server, "gone/a.bin")).reason == "missing"
    assert refusal(address(server, "closed/a.bin")).reason == "unreadable"
    assert len(server.asked) <= 4


def test_sizes_are_bounded_also_where_they_are_not_told(server, monkeypatch):
    for way in ("chunked", "plain"):
        assert refusal(address(server, f"{way}/a.bin"), len(DATA) - 1).reason == "too_large"
    monkeypatch.setattr(remote, "_MAX_UNTOLD_BYTES", 10**6)
    refused = refusal(address(server, "chunked/b.bin"))
    assert refused.reason == "too_large" and "Content-Length" in refused.detail


def test_a_large_file_is_read_on_after_a_break(server, tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "WHOLE_BYTES", 1000)
    clip = write_clip(tmp_path / "a.mkv", 50)
    server.data = clip.read_bytes()
    server.troubles = 2
    found = probe(MediaRef("video", address(server, "short/a.mkv")))
    assert found == probe(MediaRef("video", str(clip)))
    server.troubles = 10**9  # Matroska would be taken to end where it breaks
    with pytest.raises(MediaError) as caught:
        probe(MediaRef("video", address(server, "short/b.mkv")))
    assert caught.value.reason == "unreadable"


def test_a_large_file_of_a_server_without_parts_is_read_whole(server, tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(remote, "_BLOCK_BYTES", 5000)
    clip = write_clip(tmp_path / "a.mp4", 50, options={"qp": "10"})
    server.data = clip.read_bytes()
    found = probe(MediaRef("video", address(server, "whole/a.mp4")))
    assert found == probe(MediaRef("video", str(clip)))
    monkeypatch.setattr(remote, "_MAX_UNTOLD_BYTES", 1000)
    with pytest.raises(MediaError, match="serves no parts") as caught:
        probe(MediaRef("video", address(server, "whole/b.mp4")))
    assert caught.value.reason == "unreadable"


def test_redirects_stay_with_hosts_that_are_allowed(server):
    elsewhere = address(server, "plain/a.bin", "localhost")
    sent_on = address(server, f"to/it?{elsewhere}")
    refused = refusal(sent_on)
    assert refused.reason == "redirected"
    assert "127.0.0.1 sends on to localhost" in refused.detail
    assert "config.data.redirect_hosts" in refused.detail
    assert not any(" /plain" in asked for asked in server.asked)  # it was not followed
    assert read_source(address(server, f"to/it?{address(server, 'plain/a.bin')}"), 10**9) == DATA
    remote.allow_redirects(["*host"])
    assert read_source(sent_on, 10**9) == DATA


def test_another_port_is_another_server(server):
    assert refusal(address(server, "to/it?http://127.0.0.1:9/a.bin")).reason == "redirected"


def test_redirects_without_end(server):
    assert refusal(address(server, "loop/a.bin")).reason == "unreadable"
    assert len(server.asked) < 60


def test_hosts_are_known_in_decoder_processes(server, tmp_path):
    clip = write_clip(tmp_path / "a.mp4", 8)
    server.data = clip.read_bytes()
    there = address(server, "plain/a.mp4", "localhost")
    ref = MediaRef("video", address(server, f"to/it?{there}"))
    decoder = Decoder(processes=1, redirect_hosts=())
    with pytest.raises(MediaError) as caught:
        decoder.probe(ref)
    decoder.close()
    assert caught.value.reason == "redirected"
    decoder = Decoder(processes=1, redirect_hosts=("localhost",))
    assert decoder.probe(ref) == probe(MediaRef("video", str(clip)))
    decoder.close()
