"""The coding page in a real browser, and its server against those who should not reach it."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from threading import Thread
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

from tests.browser import browser
from tests.openended.judged import sample_of
from valuestrata.errors import UsageError
from valuestrata.openended.annotation.files import Task, append_codings, coder_file, read_codings
from valuestrata.openended.annotation.server import CoderSession, CodingServer

EVIL = "<script>document.title = 'broken'</script><img src=x onerror=\"document.title = 'broken'\"> & more"
TEN = ("Never", *map(str, range(2, 10)), "Always")
TASKS = [
    Task("C001", "pairwise", "persona", "Which sounds more like them?", "What do you think?", "A woman aged 35 to 44", (EVIL, "Two."), ()),
    Task("C002", "stance", "stance", "Read it.", "How much?", "", ("=Some.\n\nAnd more.",), TEN),
    Task("C003", "pairwise", "overall", "Which is better?", "And now?", "A man", ("Three.", "Four."), ()),
    Task("C004", "stance", "stance", "Read it.", "How often?", "", ("Never.",), ("Often", "Never")),
]


@pytest.fixture
def sample(tmp_path):
    return sample_of(tmp_path / "sample", TASKS)


@contextmanager
def served(sample, coder):
    with CodingServer(CoderSession(sample, coder)) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(10)


def at_task(number):
    return f"!document.querySelector('#task').hidden && document.querySelector('#heading').innerText.includes('Task {number} of 4')"


DONE = "!document.querySelector('#done').hidden"


def test_a_person_codes_with_keys_goes_back_and_comes_again(sample, tmp_path):
    with browser(tmp_path) as page:
        with served(sample, "ana") as server:
            page.open(server.url)
            page.wait(at_task(1))
            # Written by a model, shown as written.
            assert EVIL in page.text("#answers article:first-child")
            assert page.js("document.querySelectorAll('#answers img, #answers script').length") == 0
            assert page.text("#persona") == "A woman aged 35 to 44"
            assert page.js("document.activeElement.id") == "heading"
            assert page.text("#live") == "Task 1 of 4"
            page.key("2")
            page.wait(at_task(2))
            assert read_codings(sample, "ana") == {"C001": ("2", "")}
            assert page.js("document.querySelector('#persona-row').hidden")
            assert "=Some.\n\nAnd more." in page.text("#answers article")
            # In a note, keys are letters.
            page.click("#note")
            page.type("t 1 <b>")
            page.key("Escape")
            page.key("0")
            page.wait(at_task(3))
            assert read_codings(sample, "ana")["C002"] == ("10", "t 1 <b>")
            page.key("x")
            page.key("n")
            page.key("t")
            page.wait(at_task(4))
            page.key("ArrowLeft")
            page.wait(at_task(3))
            assert page.js("document.querySelector('[aria-pressed=true]').dataset.verdict") == "tie"
            page.click("[data-verdict='1']")
            page.wait(at_task(4))
            page.key("s")
            page.wait(DONE)
            assert "1 skipped" in page.text("#done-heading")
            assert page.text("#count") == "3 of 4 coded, 1 skipped"
        # The command has ended: the page says so and keeps nothing back.
        page.click("#review")
        page.wait(at_task(4) + " || !document.querySelector('#trouble').hidden")
        assert "has ended" in page.text("#trouble")
        with served(sample, "ana") as server:
            page.open(server.url)
            page.wait(DONE)
            page.click("#review")
            page.wait(at_task(4))
            page.key("n")
            page.wait(DONE)
            assert page.text("#done-heading") == "Done. Thank you."
            assert page.js("document.querySelector('#progress').value") == 4
            page.click("#again")
            page.wait(at_task(4))
            page.click("#note")
            page.type("late")
            page.click("#forward")
            page.wait(DONE)
            page.click("#finish")
            page.wait("document.querySelector('#done-text').innerText.includes('can be closed')")
        # Two things of the broken network are told by the browser, and none by the page's own policy.
        assert not [error for error in page.errors if "Content Security" in json.dumps(error) or "exception" in json.dumps(error).lower()]
    assert read_codings(sample, "ana") == {"C001": ("2", ""), "C002": ("10", "t 1 <b>"), "C003": ("1", ""), "C004": ("none", "late")}


@pytest.mark.slow
def test_a_note_outlives_moving_on_and_a_skip_is_seen(sample, tmp_path):
    with browser(tmp_path) as page, served(sample, "ana") as server:
        page.open(server.url)
        page.wait(at_task(1))
        pressed = "document.querySelector('#skip').getAttribute('aria-pressed')"
        assert page.js(pressed) == "false"
        page.click("#note")
        page.type("not sure")
        page.key("Escape")
        page.key("ArrowRight")
        page.wait(at_task(2))
        assert page.text("#count") == "0 of 4 coded, 1 skipped"
        page.key("ArrowLeft")
        page.wait(at_task(1))
        assert page.js("document.querySelector('#note').value") == "not sure"
        assert page.js(pressed) == "true"
        # Moving on without a word is no answer at all.
        page.key("1")
        page.wait(at_task(2))
        page.key("ArrowRight")
        page.wait(at_task(3))
        assert page.text("#count") == "1 of 4 coded"
    assert read_codings(sample, "ana") == {"C001": ("1", "not sure")}


@pytest.mark.slow
def test_several_coders_do_not_see_each_other(sample, tmp_path):
    append_codings(coder_file(sample.path, "ana"), [("C001", "1", "mine")])
    with browser(tmp_path) as page, served(sample, "ben") as server:
        page.open(server.url)
        page.wait(at_task(1))
        assert page.js("document.querySelectorAll('[aria-pressed=true]').length") == 0
        assert page.js("document.querySelector('#note').value") == ""
        page.key("1")
        page.wait(at_task(2))
        # A tab that is simply closed has lost nothing.
        page.open("about:blank")
        page.open(server.url)
        page.wait(at_task(2))
    assert read_codings(sample, "ana") == {"C001": ("1", "mine")}
    assert read_codings(sample, "ben") == {"C001": ("1", "")}


def request(server, method, path, *, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    try:
        sent = {"Content-Type": "application/json"} if body is not None else {}
        connection.request(method, path, body=body, headers={**sent, **{key.replace("_", "-"): value for key, value in headers.items()}})
        reply = connection.getresponse()
        return reply.status, reply.read(), reply
    finally:
        connection.close()


ANSWER = json.dumps({"code_id": "C001", "verdict": "1", "note": ""})


def test_only_the_page_itself_reaches_the_tasks(sample):
    with served(sample, "ana") as server:
        inside = f"/{server.token}"
        assert server.server_address[0] == "127.0.0.1"
        for method, path, headers in [
            ("GET", "/", {}),
            ("GET", "/task/0", {}),
            ("GET", f"/{server.token[:-1]}x/task/0", {}),
            ("GET", f"{inside}/task/0", {"Host": f"evil.example:{server.server_port}"}),
            ("GET", f"{inside}/task/0", {"Host": "127.0.0.1"}),
            ("POST", f"{inside}/answer", {"Origin": "http://evil.example"}),
            ("POST", f"{inside}/answer", {"Origin": "null"}),
            ("POST", "/answer", {}),
        ]:
            assert request(server, method, path, body=ANSWER if method == "POST" else None, **headers)[0] == 403, (method, path, headers)
        # What a form of another site can send without being asked first.
        assert request(server, "POST", f"{inside}/answer", body=ANSWER, Content_Type="text/plain")[0] == 415
        assert read_codings(sample, "ana") == {}
        own = f"http://127.0.0.1:{server.server_port}"
        assert request(server, "POST", f"{inside}/answer", body=ANSWER, Origin=own)[0] == 200
        assert read_codings(sample, "ana") == {"C001": ("1", "")}


def test_the_page_loads_nothing_from_elsewhere(sample):
    with served(sample, "ana") as server:
        status, page, reply = request(server, "GET", f"/{server.token}/")
        assert status == 200
        assert b"http" not in page
        policy = reply.getheader("Content-Security-Policy")
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert reply.getheader("Referrer-Policy") == "no-referrer"
        assert reply.getheader("Cache-Control") == "no-store"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("{", 400),
        ("[]", 400),
        ("[" * 30_000, 400),
        (json.dumps({"code_id": "C009", "verdict": "1"}), 400),
        (json.dumps({"code_id": ["C001"], "verdict": "1"}), 400),
        (json.dumps({"code_id": "C001", "verdict": "3"}), 400),
        (json.dumps({"code_id": "C001", "verdict": "1", "note": "x" * 10_001}), 400),
        (json.dumps({"code_id": "C001", "verdict": "1", "note": 1}), 400),
        ("x" * 70_000, 413),
    ],
)
def test_a_wrong_answer_is_refused_and_the_server_stays(sample, body, status):
    with served(sample, "ana") as server:
        assert request(server, "POST", f"/{server.token}/answer", body=body)[0] == status
        assert request(server, "GET", f"/{server.token}/task/3")[0] == 200
        for path in ("task/4", "task/-1", "task/x", "key.parquet", "../key.parquet", "task/99999999999999"):
            assert request(server, "GET", f"/{server.token}/{path}")[0] == 404
    assert read_codings(sample, "ana") == {}


def sent_raw(server, lines):
    """Return the status that the server answers to some header lines of a POST, with a body of ANSWER."""
    head = [f"POST /{server.token}/answer HTTP/1.1", f"Host: 127.0.0.1:{server.server_port}", "Content-Type: application/json", *lines]
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as connection:
        connection.sendall("\r\n".join([*head, "", ANSWER]).encode("latin-1"))
        return int(connection.recv(4096).split()[1])


LENGTH = str(len(ANSWER))


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["Content-Length:"],
        *([f"Content-Length: {value}"] for value in ("-1", f"+{LENGTH}", "text", "1e2", "1_0", "0x10", "12.0", "1 2", "\xb2", "9" * 19)),
        [f"Content-Length: {'0' * 12}{'9' * 9}"],
        [f"Content-Length: {'1' * 5000}"],
        [f"Content-Length: {LENGTH}", f"Content-Length: {LENGTH}"],
        [f"Content-Length: {LENGTH}", "Content-Length: 0"],
        [f"Content-Length: {LENGTH}", "Transfer-Encoding: chunked"],
    ],
)
def test_a_malformed_content_length_is_a_bad_request(sample, lines, capfd):
    with served(sample, "ana") as server:
        assert sent_raw(server, lines) == 400
        assert sent_raw(server, ["Content-Length: 99999999999"]) == 413
        assert sent_raw(server, [f"Content-Length: {LENGTH}"]) == 200
    assert read_codings(sample, "ana") == {"C001": ("1", "")}
    assert capfd.readouterr().err == ""


def test_an_address_that_is_none_is_a_bad_request(sample, capfd):
    with served(sample, "ana") as server, socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as connection:
        connection.sendall(f"GET http://[x/ HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n\r\n".encode())
        assert connection.recv(4096).split()[1] == b"400"
    assert capfd.readouterr().err == ""


def test_an_answer_that_cannot_be_written_is_not_confirmed(sample):
    with served(sample, "ana") as server:
        (sample.path / "codings").write_text("in the way")
        status, told, _ = request(server, "POST", f"/{server.token}/answer", body=ANSWER)
        assert (status, b"could not be written" in told) == (507, True)
        (sample.path / "codings").unlink()
        assert request(server, "POST", f"/{server.token}/answer", body=ANSWER)[0] == 200
    assert read_codings(sample, "ana") == {"C001": ("1", "")}


def test_the_last_of_two_pages_counts(sample):
    """A page that goes back to what it said is believed, though another one said otherwise meanwhile."""
    one, other = CoderSession(sample, "ana"), CoderSession(sample, "ana")
    for session, verdict in ((one, "1"), (other, "2"), (one, "1")):
        session.record("C001", verdict, "")
    assert read_codings(sample, "ana") == {"C001": ("1", "")}


@pytest.mark.parametrize("end", ["finish", pytest.param("interrupt", marks=pytest.mark.slow)])
def test_the_command_serves_until_it_is_told_to_stop(sample, end):
    command = [sys.executable, "-m", "valuestrata", "open", "code", str(sample.path), "--coder", "ana", "--no-browser", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as process:
        address = urlsplit(process.stderr.readline().split()[-1])
        assert address.hostname == "127.0.0.1"
        for name, body in (("answer", ANSWER), ("finish", "{}")):
            if (name, end) != ("finish", "interrupt"):
                sent = Request(f"{address.geturl()}{name}", data=body.encode(), headers={"Content-Type": "application/json"})
                with urlopen(sent, timeout=30) as reply:
                    assert reply.status == 200
        if end == "interrupt":
            process.send_signal(signal.SIGINT)
        told, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert json.loads(told) == {"coder": "ana", "coded": 1, "left": 3}
    assert read_codings(sample, "ana") == {"C001": ("1", "")}


def test_a_port_that_is_taken_is_said(sample):
    with CodingServer(CoderSession(sample, "ana")) as server, pytest.raises(UsageError, match="port="):
        CodingServer(CoderSession(sample, "ben"), server.server_port)
