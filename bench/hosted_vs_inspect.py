"""Hosted models: samples per second against Inspect AI, and processor time per call against the OpenAI library.

A server in a separate process answers every call in 50 ms. We time `ask` as a user calls it: prompts are rendered from a data set,
asked, parsed and stored one by one. Each side runs in its own process. The library is used with a semaphore and
`chat.completions.create`. Inspect AI is in the extra `bench`; if it is installed elsewhere, VALUESTRATA_INSPECT_PYTHON names the
interpreter.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
CALLS, PEER_CALLS, CONNECTIONS = 20_000, 2_000, 64


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _data(_url: str, folder: str) -> dict[str, Any]:
    """Build the data set in a separate process, because it takes more memory than asking, which is measured."""
    from population import synthetic_survey

    from valuestrata.building import BuildSettings, build
    from valuestrata.dataset.tables import write_dataset

    write_dataset(build(synthetic_survey(2_000, 278), BuildSettings(draws=10)), Path(folder) / "data")
    return {}


def _ours(url: str, folder: str) -> dict[str, Any]:
    """Ask 20,000 prompts into a run and write the first prompts for the peers."""
    from valuestrata.dataset.tables import load_dataset
    from valuestrata.respondents.hosted.respondent import make_hosted
    from valuestrata.respondents.hosted.settings import HostedSettings
    from valuestrata.responses.ask.loop import ask
    from valuestrata.responses.ask.plan import plan_asking
    from valuestrata.responses.run.folder import load_run

    dataset = load_dataset(Path(folder) / "data")
    respondent = make_hosted("openai-compatible/planted", HostedSettings(base_url=url, concurrency=CONNECTIONS))
    planned = list(islice(plan_asking(dataset, elicitation="text").prompts(dataset, respondent), CALLS))
    before, start = _cpu(), time.perf_counter()
    result = ask(dataset, respondent, Path(folder) / "run", elicitation="text", max_calls=CALLS)
    seconds, cpu = time.perf_counter() - start, _cpu() - before
    assert (result.asked, result.failed) == (CALLS, 0), result
    rows = load_run(Path(folder) / "run").responses
    text_of = dict(zip(rows["pair_id"], rows["text"], strict=True))
    with (Path(folder) / "prompts.jsonl").open("w") as file:
        file.writelines(json.dumps(prompt.messages[0].content) + "\n" for prompt in planned[:PEER_CALLS])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "cpu": cpu, "peak": peak, "texts": [text_of[prompt.pair_id] for prompt in planned[:PEER_CALLS]]}


def _library(url: str, folder: str) -> dict[str, Any]:
    import openai

    prompts = [json.loads(line) for line in (Path(folder) / "prompts.jsonl").read_text().splitlines()]

    async def all_of_them() -> list[str]:
        places = asyncio.Semaphore(CONNECTIONS)
        async with openai.AsyncOpenAI(api_key="none", base_url=url, max_retries=0) as client:

            async def one(text: str) -> str:
                async with places:
                    messages: Any = [{"role": "user", "content": text}]
                    reply = await client.chat.completions.create(model="planted", messages=messages, max_tokens=32, temperature=0.0)
                    return reply.choices[0].message.content or ""

            # The first call triggers lazy imports; ours are also loaded before timing.
            await one(prompts[0])
            nonlocal before, start
            before, start = _cpu(), time.perf_counter()
            return list(await asyncio.gather(*map(one, prompts)))

    before = start = 0.0
    texts = asyncio.run(all_of_them())
    return {"seconds": time.perf_counter() - start, "cpu": _cpu() - before, "texts": texts}


def _side(*command: str) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"{' '.join(command[:3])} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _inspect_python() -> str | None:
    named = os.environ.get("VALUESTRATA_INSPECT_PYTHON")
    return named or (sys.executable if importlib.util.find_spec("inspect_ai") else None)


def run() -> list[dict[str, Any]]:
    """Return both comparisons; that with Inspect AI only if it is installed."""
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen([sys.executable, str(HERE / "hosted_server.py"), "50"], stdout=subprocess.PIPE, text=True) as server,
    ):
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        try:
            _side(sys.executable, __file__, "data", url, folder)
            ours = _side(sys.executable, __file__, "ours", url, folder)
            library = _side(sys.executable, __file__, "library", url, folder)
            python = _inspect_python()
            inspect = None
            if python is not None:
                script, prompts = str(HERE / "hosted_inspect.py"), str(Path(folder) / "prompts.jsonl")
                inspect = _side(python, script, prompts, url, str(CONNECTIONS), str(Path(folder) / "log"))
        finally:
            server.kill()
    for name, peer in (("the library", library), ("Inspect AI", inspect)):
        if peer is not None and peer["texts"] != ours["texts"]:
            raise AssertionError(f"the answers of {name} differ from ours")
    rate, cpu = CALLS / ours["seconds"], 1000 * ours["cpu"] / CALLS
    library_cpu = 1000 * library["cpu"] / PEER_CALLS
    rows = [
        {
            "name": "hosted_cpu_over_sdk",
            "ours": cpu,
            "peer": library_cpu,
            "peer_name": "openai",
            "ratio": library_cpu / cpu,
            "unit": "ms of processor time per call",
            "detail": f"{cpu - library_cpu:+.2f} ms per call (limit +1); {CALLS:,} calls stored, {PEER_CALLS:,} calls of the library",
        }
    ]
    if inspect is not None:
        peer_rate = PEER_CALLS / inspect["seconds"]
        rows.append(
            {
                "name": "hosted_vs_inspect",
                "ours": rate,
                "peer": peer_rate,
                "peer_name": "inspect-ai",
                "ratio": rate / peer_rate,
                "unit": "samples/s",
                "detail": f"{CALLS:,} against {PEER_CALLS:,} samples of 50 ms, {CONNECTIONS} connections; peak "
                f"{ours['peak']:.0f} MB (limit 600); Inspect AI {1000 * inspect['cpu'] / PEER_CALLS:.1f} ms of processor time per sample",
            }
        )
    return rows


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps({"data": _data, "ours": _ours, "library": _library}[sys.argv[1]](*sys.argv[2:])))
    else:
        print(json.dumps(run(), indent=1))
