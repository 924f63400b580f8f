"""Asks a hosted model in processes that may be killed: one that has imported everything forks one for each order on stdin.

An order is a line of JSON: {"out", "url", "samples", "limit", "prices", "concurrency", "max_cost"}; `limit` is the most bytes a
file may have (a full disk). The answers on stdout are `pid N` and, when that process has ended, `status N`.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
import traceback

from tests.conftest import build_handmade
from valuestrata.errors import ValuestrataError
from valuestrata.respondents.hosted.limits import concurrency
from valuestrata.respondents.hosted.prices import Prices
from valuestrata.respondents.hosted.respondent import make_hosted
from valuestrata.respondents.hosted.settings import HostedSettings
from valuestrata.responses.ask.loop import ask


def run(order: dict) -> int:
    concurrency._SHORTEST = 0.01
    if order.get("limit"):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["limit"], resource.RLIM_INFINITY))
    prices = Prices(*order["prices"]) if "prices" in order else None
    most = order.get("concurrency", 24)
    settings = HostedSettings(base_url=order["url"], timeout=1.0, concurrency=most, seed=0, attempts=20, prices=prices)
    respondent = make_hosted("openai-compatible/planted", settings)
    try:
        ask(
            build_handmade(),
            respondent,
            order["out"],
            elicitation="text",
            orders="scale,reversed",
            samples=order["samples"],
            max_cost=order.get("max_cost"),
        )
    except ValuestrataError as error:
        print(f"error {error}", flush=True)
        return error.exit_code
    return 0


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if not child:
            try:
                status = run(json.loads(line))
            except BaseException:
                traceback.print_exc()
                status = 99
            os._exit(status)
        print(f"pid {child}", flush=True)
        _, status = os.waitpid(child, 0)
        print(f"status {os.waitstatus_to_exitcode(status)}", flush=True)


if __name__ == "__main__":
    # Loaded before any fork: a child is then asking within milliseconds.
    importlib.import_module("openai.resources.chat")

    main()
