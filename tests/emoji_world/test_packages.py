"""Packages come whole and checked, or with an error that says where to put them by hand."""

import dataclasses
import http.server
import socket
import threading

import pytest

from emoji_world import PackageError
from emoji_world.packages import STILLS, Pins, fetch


@pytest.fixture
def server(registry):
    """An HTTP server of the npm folder that knows ranges; it keeps what it was asked for."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            data = (registry.root / "npm" / self.path.lstrip("/")).read_bytes()
            begun = int((self.headers.get("Range") or "bytes=0-")[6:-1])
            asked.append(begun)
            if begun >= len(data):
                self.send_error(416)
                return
            self.send_response(206 if begun else 200)
            self.send_header("Content-Length", str(len(data) - begun))
            self.end_headers()
            # The first answer breaks off.
            self.wfile.write(data[begun:] if len(asked) > 1 else data[: len(data) // 2])

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{found.server_port}", asked
        found.shutdown()


def test_a_fetch_that_breaks_off_goes_on_where_it_was(registry, server, tmp_path):
    address, asked = server
    package = registry.pins.stills
    path = fetch(package, tmp_path, {"npm": f"{address}/"})
    assert path.read_bytes() == (registry.root / "npm" / package.path).read_bytes()
    assert asked == [0, package.size // 2]
    assert [p.name for p in tmp_path.iterdir()] == ["3d-1.0.0.tgz"]
    fetch(package, tmp_path, {"npm": "http://never.invalid"})  # it is there
    assert len(asked) == 2


def test_what_a_killed_fetch_left_is_gone_on_with(registry, server, tmp_path):
    address, asked = server
    package = registry.pins.stills
    data = (registry.root / "npm" / package.path).read_bytes()
    asked.append(0)  # nothing breaks off any more
    (tmp_path / f"{package.file}.part").write_bytes(data[:10])
    assert fetch(package, tmp_path, {"npm": address}).read_bytes() == data
    (tmp_path / package.file).rename(tmp_path / f"{package.file}.part")
    assert fetch(package, tmp_path, {"npm": address}).read_bytes() == data
    assert asked == [0, 10, len(data)]


def test_a_damaged_file_is_fetched_again(registry, tmp_path):
    package = registry.pins.easy_vqa
    (tmp_path / package.file).write_bytes(b"half")
    path = fetch(package, tmp_path, registry.addresses)
    assert path.read_bytes() == (registry.root / "pypi" / package.path).read_bytes()


def test_another_file_than_the_pinned_one_is_refused(registry, tmp_path):
    wrong = dataclasses.replace(registry.pins.stills, sha512="AAAA")
    with pytest.raises(PackageError, match=r"is not @x/3d 1.0.0 \(npm\).*\n.*by hand: .*3d-1.0.0"):
        fetch(wrong, tmp_path, registry.addresses)
    assert list(tmp_path.iterdir()) == []


def test_without_a_network_the_error_says_what_to_put_where(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and not listened to
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(PackageError) as error:
            fetch(STILLS, tmp_path, {"npm": address})
    lines = str(error.value).splitlines()
    assert lines[0].startswith("@lobehub/fluent-emoji-3d 1.1.0 (npm) cannot be fetched: ")
    assert lines[1].endswith(f"{address}/@lobehub/fluent-emoji-3d/-/fluent-emoji-3d-1.1.0.tgz")
    assert lines[2].endswith(str(tmp_path / "fluent-emoji-3d-1.1.0.tgz"))
    assert "config.data.emoji_world.npm" in lines[3] and len(lines) == 4


def test_the_real_packages_are_pinned_and_their_files_differ():
    packages = Pins().all()
    assert len({package.file for package in packages}) == len(packages) == 6
    assert all(len(package.sha512) == 88 and package.size > 3e6 for package in packages)
