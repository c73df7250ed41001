"""Downloads, against a server on this machine: what is checked, and what is left behind when it goes wrong."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from joulemark.data.download import Remote, fetch, show

CONTENT = bytes(range(256)) * 9000
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


class Site(BaseHTTPRequestHandler):
    """Answers of a good and a bad server."""

    def do_GET(self):
        if self.path == "/missing":
            self.send_error(404)
        elif self.path.startswith("/to-"):
            self.send_response(302)
            self.send_header("Location", {"/to-good": "/good", "/to-https": "https://127.0.0.1:9/x"}[self.path])
            self.end_headers()
        else:
            self.send_response(200)
            if self.path != "/unsized":
                self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[:1000] if self.path == "/cut" else CONTENT)

    def log_message(self, *_):
        """Quiet."""


@pytest.fixture(scope="module")
def site():
    server = HTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def get(site, path, folder, **more):
    return fetch(Remote("file", f"{site}/{path}", MD5), folder, schemes=("http",), timeout_seconds=5, **more)


@pytest.mark.parametrize("path", ["good", "to-good", "unsized"])
def test_a_good_file_gets_its_name(site, tmp_path, path):
    found = get(site, path, tmp_path / "new/folder")
    assert found == tmp_path / "new/folder/file"
    assert found.read_bytes() == CONTENT
    assert [entry.name for entry in found.parent.iterdir()] == ["file"]


def test_what_a_killed_download_left_is_removed_once_it_is_old(site, tmp_path):
    for name, minutes in ((".file.abcd", 61), (".file.young", 59), (".other.abcd", 61)):
        (tmp_path / name).write_bytes(b"part")
        then = time.time() - 60 * minutes
        os.utime(tmp_path / name, (then, then))
    get(site, "good", tmp_path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".file.young", ".other.abcd", "file"]


def test_progress_ends_with_the_size(site, tmp_path):
    seen = []
    get(site, "good", tmp_path, progress=lambda *now: seen.append(now))
    assert seen[-1] == ("file", len(CONTENT), len(CONTENT))
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    get(site, "unsized", tmp_path, progress=lambda *now: seen.append(now))
    assert seen[-1] == ("file", len(CONTENT), None)


@pytest.mark.parametrize("before", [None, b"what was there"])
def test_a_wrong_file_is_deleted_and_said(site, tmp_path, before):
    if before:
        (tmp_path / "file").write_bytes(before)
    with pytest.raises(ValueError, match=f"sent a file with MD5 {MD5}, published is {'0' * 32}: it was deleted"):
        fetch(Remote("file", f"{site}/good", "0" * 32), tmp_path, schemes=("http",))
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == ({"file": before} if before else {})


@pytest.mark.parametrize(("path", "error"), [("missing", "404"), ("cut", "1000|IncompleteRead")])
def test_a_bad_answer_leaves_nothing(site, tmp_path, path, error):
    with pytest.raises(OSError, match=error):
        get(site, path, tmp_path)
    assert not list(tmp_path.iterdir())


def test_no_server(tmp_path):
    with pytest.raises(OSError, match=r"refused|unreachable"):
        get("http://127.0.0.1:9", "file", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/x", "file:///etc/passwd", "ftp://127.0.0.1/x", "/etc/passwd"])
def test_only_https_by_default(tmp_path, address):
    with pytest.raises(ValueError, match="is no address to download from: it must begin with https"):
        fetch(Remote("file", address, MD5), tmp_path)


def test_a_redirection_to_another_scheme_is_refused(site, tmp_path):
    with pytest.raises(ValueError, match=r"https://127\.0\.0\.1:9/x is no address to download from"):
        get(site, "to-https", tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_line_that_counts(capsys):
    show("file", 1_500_000, 3_000_000)
    show("file", 3_000_000, 3_000_000)
    show("other", 1_000_000, None)
    assert capsys.readouterr().err == "\rfile: 1.5 of 3.0 MB\rfile: 3.0 of 3.0 MB\n\rother: 1.0 MB"
