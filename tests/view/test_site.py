"""The pages of a folder: the index, reports on chosen runs, files, and messages."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import time

import pytest
from starlette.testclient import TestClient

from tests.responses.asked import Writes
from valuestrata.dataset.tables import load_dataset
from valuestrata.reports.core.runs import MOST_RUNS
from valuestrata.responses.ask.loop import ask
from valuestrata.view.comparison import Job
from valuestrata.view.folders import find
from valuestrata.view.pages import PER_PAGE, ago
from valuestrata.view.server import FolderSite, open_socket

NOW = 2_000_000_000.0


def client_of(folder, host="127.0.0.1:7473", **options) -> TestClient:
    site = FolderSite(folder, clock=lambda: NOW, bootstrap=20, **options)
    return TestClient(site.app(), base_url=f"http://{host}", follow_redirects=False)


def changed(run, **keys):
    """Change keys of a run's document."""
    file = run / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | keys))


def copies(folder, number):
    for place in range(number):
        target = folder / "runs" / f"copy-{place:03}"
        shutil.copytree(folder / "runs" / "ones", target)
        changed(target, name=f"copy-{place:03}")


def message(reply) -> str:
    return html.unescape(re.search(r'role="alert">([^<]*)<', reply.text)[1])


def finished(client, address, seconds=120):
    """Return the report at an address, when it has been computed."""
    end = time.monotonic() + seconds
    while "The report is being computed" in (reply := client.get(address)).text:
        assert time.monotonic() < end
        time.sleep(0.05)
    return reply


def test_the_index_lists_what_is_there(folder):
    page = client_of(folder).get("/")
    assert page.status_code == 200
    for text in (
        "3 runs, 1 data set",
        "writer",
        "baseline:item-mode",
        "5 of 12",
        "partial",
        "12 of 12",
        "A tiny survey, Utopia",
        "paper, test",
    ):
        assert text in page.text, text
    # Nothing is loaded, and only the script of the package may run.
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page.text)
    assert "unsafe-inline" not in re.search(r"script-src ([^;]*)", page.headers["content-security-policy"])[1]


def test_the_newest_run_is_first_and_others_orders_can_be_chosen(folder):
    client = client_of(folder)
    ask(load_dataset(folder / "data"), Writes("Answer: 2", name="a newer model"), folder / "runs" / "new", elicitation="text")

    def order(address):
        return re.findall(r'<tr data-run="runs/(\w+)"', client.get(address).text)

    assert order("/")[0] == "new"
    assert order("/?sort=run") == ["mode", "new", "ones", "twos"]
    assert order("/?sort=model")[0] == "new"
    assert order("/?sort=answered")[-1] == "ones"
    assert order("/?text=WRITER+partial") == ["ones"]
    assert "No run contains all of these words" in client.get("/?text=absent").text


def test_more_runs_than_fit_on_a_page(folder):
    copies(folder, PER_PAGE)
    client = client_of(folder)
    first, second = client.get("/?sort=run&run=runs/twos"), client.get("/?sort=run&page=2")
    assert first.text.count("<tr data-run=") == PER_PAGE
    assert second.text.count("<tr data-run=") == 3
    assert "Page 1 of 2" in first.text
    # A run that was marked on another page stays marked.
    assert '<input type="hidden" name="run" value="runs/twos">' in first.text
    assert client.get("/?page=nonsense").status_code == client.get("/?page=99999").status_code == 200


def test_names_are_text(folder):
    run = folder / "runs" / "ones"
    changed(run, name="<script>alert(1)</script>", respondent={"name": '"><img src=x onerror=alert(2)>', "provider": "fake"})
    page = client_of(folder).get('/?text="><script>').text + client_of(folder).get("/").text
    assert "<script>alert" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_damaged_run_is_named_and_the_others_are_listed(folder):
    (folder / "runs" / "ones" / "run.json").write_text("{broken")
    client = client_of(folder)
    page = client.get("/").text
    assert "Cannot be read" in page
    assert "runs/ones/run.json: not a JSON file" in page
    assert '<tr data-run="runs/twos"' in page
    assert message(client.get("/compare?run=runs/ones&run=runs/twos")).startswith("The run runs/ones cannot be read.")


def test_a_plan_of_other_types_is_listed_without_what_was_asked(folder):
    changed(folder / "runs" / "ones", plan={"split": 3, "part": {"a": 1}, "fold": "x"})
    assert '<tr data-run="runs/ones"' in client_of(folder).get("/").text


def test_names_that_no_address_can_hold(folder):
    (folder / "older").mkdir()
    (folder / "older" / "page.html").write_text("<p>a page</p>")
    try:
        os.close(os.open(os.fsencode(folder / "older") + b"/caf\xe9.html", os.O_CREAT))
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    page = client_of(folder).get("/").text
    assert "older/page.html" in page
    assert "Its name is not UTF-8 text. Rename it to see it here." in page


def test_an_empty_folder(tmp_path):
    assert message(client_of(tmp_path).get("/")).startswith("This folder holds no data set, run or study.")


def test_studies_have_links_to_their_pages(folder):
    (folder / "study.yaml").write_text("name: My study\n")
    (folder / "report.html").write_text("<p>the report</p>")
    (folder / "audit #1").mkdir()
    (folder / "audit #1" / "audit.html").write_text("<p>the audit</p>")
    client = client_of(folder)
    page = client.get("/").text
    assert "My study" in page
    assert "2 of 3" in page
    links = re.findall(r'href="(/file/[^"]*)"', page)
    assert [client.get(link).text for link in links] == ["<p>the report</p>", "<p>the audit</p>"]
    # A page of another origin cannot read this site, whoever wrote it.
    assert client.get(links[0]).headers["content-security-policy"].startswith("sandbox allow-scripts")
    assert client.get("/file/runs/ones/run.json").status_code == 404
    assert client.get(f"/file/{'a' * 300}.html").status_code == 404


def test_running_work_is_followed(folder):
    run = folder / "runs" / "ones"
    client = client_of(folder)
    assert "<script>" not in client.get("/").text
    document = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({key: value for key, value in document.items() if key not in ("finished", "counts")}))
    # Unchanged for years: it is stopped.
    assert client.get("/progress?run=runs/ones").json()["runs/ones"]["state"] == "stopped"
    site = FolderSite(folder, clock=time.time)
    client = TestClient(site.app(), base_url="http://localhost")
    page = client.get("/").text
    assert "data-running" in page
    assert page.count("<script>") == 1
    told = client.get("/progress?run=runs/ones&run=runs/absent&run=../../etc").json()
    assert told == {"runs/ones": told["runs/ones"]}
    expected = {
        "answered": "5 of 12",
        "value": 5,
        "max": 12,
        "state": "running",
        "running": True,
        "failed": "0",
        "cost": "–",
        "changed": "just now",
    }
    assert told["runs/ones"] == expected
    # A run that is moved or damaged meanwhile does not hide the others.
    shutil.rmtree(folder / "runs" / "mode")
    (run / "run.json").write_text("{broken")
    left = client.get("/progress?run=runs/ones&run=runs/mode&run=runs/twos")
    assert (left.status_code, list(left.json())) == (200, ["runs/twos"])


@pytest.mark.slow
def test_runs_are_compared_with_each_other_and_with_baselines(folder):
    shutil.copytree(folder / "runs" / "twos", folder / "other" / "twos")
    client = client_of(folder)
    address = "/compare?run=runs/twos&run=runs/ones&run=other/twos"
    waiting = client.get(address)
    assert "The report is being computed" in waiting.text
    page = finished(client, address)
    for text in ("A tiny survey", "runs/twos", "other/twos", "ones", "baseline-item-mode", "Ceiling", 'href="/"'):
        assert text in page.text, text
    assert client.get(address).text == page.text
    # Other answers make another page.
    ask(load_dataset(folder / "data"), Writes("Answer: 1", name="writer"), folder / "runs" / "ones", elicitation="text")
    assert "The report is being computed" in client.get(address).text
    assert finished(client, address).text != page.text
    # Nothing of the folder's own runs was changed.
    assert len(find(folder).runs) == 4


def test_a_report_on_a_run_at_work_is_shown(folder):
    """Its files change between two requests: a report on the latest state would never be ready."""
    client, end = client_of(folder), time.monotonic() + 60
    address = "/compare?run=runs/twos&split=absent&part=test"

    def asked_again():
        changed(folder / "runs" / "twos", touched=time.monotonic())
        return client.get(address)

    while (reply := asked_again()).status_code == 200:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert message(reply).startswith("There is no split 'absent'.")
    # It was shown, so the next one is about the files as they are now.
    assert "The report is being computed" in asked_again().text


def test_a_report_on_an_earlier_state_does_not_wait_long_for_its_reader():
    job = Job(files=(1,))
    assert job.is_about((2,), 0.0)
    job.ended = 100.0
    assert job.is_about((2,), 103.0)
    assert not job.is_about((2,), 200.0)
    assert job.is_about((1,), 200.0)
    job.seen = True
    assert not job.is_about((2,), 103.0)


def test_runs_that_were_asked_different_pairs(folder):
    dataset = load_dataset(folder / "data")
    ask(dataset, Writes("Answer: 2", name="w"), folder / "runs" / "levels", elicitation="text", split="unseen-level", fold=0, max_calls=3)
    client = client_of(folder)
    address = "/compare?run=runs/twos&run=runs/levels"
    page = client.get(address)
    assert "split paper, part test" in page.text
    assert "split unseen-level, part test, fold 0" in page.text
    links = [link.replace("&amp;", "&") for link in re.findall(r'href="(/compare[^"]*)"', page.text)]
    assert "split=unseen-level&part=test&fold=0" in links[1]
    assert message(finished(client, f"{address}&split=absent")).startswith("There is no split 'absent'.")
    assert message(client.get(f"{address}&split=paper&fold=x")).startswith("There is no fold 'x'")


def test_what_cannot_be_compared(folder, made):
    client = client_of(folder)
    assert message(client.get("/compare")).startswith("No run was chosen.")
    assert message(client.get("/compare?run=runs/absent")).startswith("There is no run runs/absent in this folder.")
    copies(folder, MOST_RUNS + 1)
    many = "&".join(f"run=runs/copy-{place:03}" for place in range(MOST_RUNS + 1))
    assert message(client.get(f"/compare?{many}")).startswith(f"A report shows at most {MOST_RUNS} runs, and {MOST_RUNS + 1} were given.")
    changed(folder / "runs" / "ones", dataset={"fingerprint": "e" * 64, "survey": "another"})
    refused = client.get("/compare?run=runs/ones&run=runs/twos")
    assert refused.status_code == 400
    assert "belong to 2 data sets" in message(refused)
    assert "runs/ones (another, fingerprint eeeeeeeeeeee)" in message(refused)
    absent = message(client.get("/compare?run=runs/ones"))
    assert absent.startswith("The data set of these runs (another, fingerprint eeeeeeeeeeee) is not in this folder.")
    changed(folder / "runs" / "twos", elicitation="open")
    assert "open answers" in message(client.get("/compare?run=runs/twos"))
    # A data set with a changed table is found when it is read.
    (folder / "data" / "gold.parquet").write_bytes(b"x")
    assert "data/gold.parquet: the table was changed" in message(finished(client, "/compare?run=runs/mode"))


@pytest.mark.parametrize("host", ["example.org", "127.0.0.1.example.org", "localhost.example.org", "[::1]"])
def test_other_hosts_are_refused(folder, host):
    reply = client_of(folder, host=host).get("/")
    assert reply.status_code == 400
    assert "twos" not in reply.text


def test_requests_of_other_sites_are_refused(folder):
    client = client_of(folder)
    asked = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    assert client.get("/compare?run=runs/twos", headers=asked).status_code == 403
    assert client.get("/", headers=asked | {"sec-fetch-mode": "navigate"}).status_code == 200
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert client.request(method, "/").status_code == 405
    for address in ("/", "/absent", "/file/none.html"):
        assert client.get(address).headers.get("access-control-allow-origin") is None


def test_a_port_that_is_taken():
    from valuestrata.errors import UsageError

    with open_socket(0) as first:
        port = first.getsockname()[1]
        assert first.getsockname()[0] == "127.0.0.1"
        with pytest.raises(UsageError, match=f"`port={port}`: cannot be opened"):
            open_socket(port)
    with open_socket(None) as one, open_socket(None) as two:
        assert one.getsockname()[1] < two.getsockname()[1]


def test_times_are_written_in_words():
    assert [ago(NOW - seconds, NOW) for seconds in (-5, 3, 61, 7200, 86400 * 3, 86400 * 40)] == [
        "just now",
        "just now",
        "1 minute ago",
        "2 hours ago",
        "3 days ago",
        "2033-04-08",
    ]
