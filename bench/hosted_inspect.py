"""Peer of `hosted_vs_inspect`: Inspect AI sends the same prompts to the same server.

    python bench/hosted_inspect.py PROMPTS.jsonl BASE_URL CONNECTIONS FOLDER

prints {"seconds", "cpu", "texts"} as JSON and may run in a separate environment. Inspect is configured as its documentation
advises for many short samples: no real-time log, no display, no scoring, and more concurrent samples than connections.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path


def main() -> None:
    """Ask the prompts and print the time."""
    prompts, url, connections, folder = sys.argv[1:]
    os.environ |= {"PLANTED_BASE_URL": url, "PLANTED_API_KEY": "none"}
    import inspect_ai
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.solver import generate

    texts = [json.loads(line) for line in Path(prompts).read_text().splitlines()]
    task = inspect_ai.Task(dataset=MemoryDataset([Sample(input=text, id=at) for at, text in enumerate(texts)]), solver=generate())
    before, start = _cpu(), time.perf_counter()
    logs = inspect_ai.eval(
        task,
        model="openai-api/planted/planted",
        display="none",
        log_dir=folder,
        log_realtime=False,
        score=False,
        max_samples=4 * int(connections),
        max_connections=int(connections),
        max_tokens=32,
        temperature=0.0,
    )
    seconds, cpu = time.perf_counter() - start, _cpu() - before
    assert logs[0].status == "success", logs[0].error
    samples = sorted(logs[0].samples or [], key=lambda sample: int(sample.id))
    print(json.dumps({"seconds": seconds, "cpu": cpu, "texts": [sample.output.completion for sample in samples]}))


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
