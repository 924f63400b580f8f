"""Providers with their batches, on loopback: what a live call answers, a batch answers as well.

`fates` says what becomes of a request in a batch, by a word that its text holds; everything else is answered.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter

from tests.hosted.vendor_server import DROP, Said, Seen, VendorServer

ERROR, EXPIRED, REFUSED = "error", "expired", "refused"


def answer_to(text: str) -> str:
    """A text's answer: the same live and in a batch; one of ten refuses, one of ten says a number that no option has."""
    number = int(hashlib.sha256(text.encode()).hexdigest(), 16)
    return {0: "I cannot answer that.", 1: "Answer: 99"}.get(number % 10, f"Answer: {1 + number % 3}")


class World:
    """What all providers share: batches by id, who asked what, and planted trouble.

    Attributes:
        polls: how often a batch is looked at before it has ended.
        lose_starts: starts of batches whose answer is lost on the way, though the batch was started.
        status: how batches end.
        log: text of each request that was answered -> how often, live and in batches.
        started: ids of batches that were paid for.
    """

    def __init__(self, polls: int = 2, status: str | None = None) -> None:
        self.polls = polls
        self.status = status
        self.lose_starts = 0
        self.troubles: list[Said | str] = []
        self.fates: dict[str, str] = {}
        self.log: Counter[str] = Counter()
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict] = {}
        self.looks: Counter[str] = Counter()

    @property
    def started(self) -> list[str]:
        return list(self.batches)

    def __enter__(self) -> World:
        self.server = VendorServer(self.reply).__enter__()
        self.url = self.server.url
        return self

    def __exit__(self, *error: object) -> None:
        self.server.__exit__(*error)

    def reply(self, seen: Seen):
        return self.troubles.pop(0) if self.troubles else self.route(seen)

    def route(self, seen: Seen):
        raise NotImplementedError

    def fate_of(self, text: str) -> str | None:
        return next((fate for word, fate in self.fates.items() if word in text), None)

    def answered(self, text: str) -> str:
        self.log[text] += 1
        return answer_to(text)

    def new_batch(self, prefix: str, **fields) -> tuple[str, bool]:
        """Start a batch; True where its answer is to be lost."""
        name = f"{prefix}{len(self.batches):03}"
        self.batches[name] = fields
        self.lose_starts -= 1
        return name, self.lose_starts >= 0

    def ended(self, name: str) -> bool:
        self.looks[name] += 1
        return self.looks[name] > self.polls


class OpenAIWorld(World):
    """Chat completions, files and batches."""

    def completion(self, body: dict) -> dict:
        text = self.answered(body["messages"][-1]["content"])
        return {
            "id": "x",
            "object": "chat.completion",
            "model": "gpt-test-001",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
        }

    def route(self, seen: Seen):
        parts = seen.path.removeprefix("/v1/").split("/")
        if parts == ["chat", "completions"]:
            return self.completion(seen.body)
        if parts == ["files"]:
            boundary = seen.headers["content-type"].partition("boundary=")[2].encode()
            part = next(part for part in seen.raw.split(b"--" + boundary) if b'name="file"' in part)
            name = f"file-{len(self.files):03}"
            self.files[name] = part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
            return {"id": name, "object": "file", "bytes": 1, "created_at": 1, "filename": "f", "purpose": "batch", "status": "processed"}
        if parts[0] == "files":
            return Said(self.files[parts[1]], headers={"content-type": "application/octet-stream"})
        if parts == ["batches"] and seen.method == "POST":
            name, lost = self.new_batch("batch_", input=seen.body["input_file_id"], metadata=seen.body["metadata"])
            assert seen.body["completion_window"] == "24h"
            return DROP if lost else self.batch(name)
        if parts == ["batches"]:
            names = sorted(self.batches, reverse=True)
            after = seen.query.get("after")
            names = names[names.index(after[0]) + 1 :] if after else names
            page = names[:2]
            return {"object": "list", "data": [self.batch(name) for name in page], "has_more": len(names) > len(page)}
        return self.batch(parts[1], look=True) if parts[1] in self.batches else Said({"error": {"message": "No such batch"}}, 404)

    def batch(self, name: str, *, look: bool = False) -> dict:
        known = self.batches[name]
        requests = [json.loads(line) for line in self.files[known["input"]].splitlines()]
        if look and "status" not in known and self.ended(name):
            known["status"] = self.status or "completed"
            if known["status"] == "failed":
                known["errors"] = {"object": "list", "data": [{"code": "token_limit_exceeded", "message": "Enqueued token limit reached."}]}
            else:
                self.run(known, requests)
        return {
            "id": name,
            "object": "batch",
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "created_at": 1,
            "input_file_id": known["input"],
            "status": known.get("status", "in_progress"),
            "metadata": known["metadata"],
            "request_counts": {"total": len(requests), "completed": known.get("done", 0), "failed": 0},
            "output_file_id": known.get("output"),
            "error_file_id": known.get("error"),
            "errors": known.get("errors"),
        }

    def run(self, known: dict, requests: list[dict]) -> None:
        outputs: list[dict] = []
        errors: list[dict] = []
        for request in reversed(requests):  # in no order that anybody may rely on
            assert (request["method"], request["url"]) == ("POST", "/v1/chat/completions")
            custom_id, text = request["custom_id"], request["body"]["messages"][-1]["content"]
            fate = self.fate_of(text)
            line = {"id": "batch_req_1", "custom_id": custom_id, "response": None, "error": None}
            if fate == EXPIRED:
                errors.append({**line, "error": {"code": "batch_expired", "message": "This request could not be executed."}})
            elif fate == REFUSED:
                body = {"error": {"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded"}}
                errors.append({**line, "response": {"status_code": 400, "request_id": "r", "body": body}})
            elif fate == ERROR:
                body = {"error": {"message": "The server had an error", "type": "server_error"}}
                errors.append({**line, "response": {"status_code": 500, "request_id": "r", "body": body}})
            else:
                outputs.append({**line, "response": {"status_code": 200, "request_id": "r", "body": self.completion(request["body"])}})
        for kind, lines in (("output", outputs), ("error", errors)):
            if lines:
                known[kind] = f"file-{len(self.files):03}"
                self.files[known[kind]] = "".join(json.dumps(line) + "\n" for line in lines).encode()
        known["done"] = len(outputs)


class AnthropicWorld(World):
    """Messages and their batches."""

    def message(self, body: dict) -> dict:
        return {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-test-001",
            "content": [{"type": "text", "text": self.answered(body["messages"][-1]["content"])}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 100, "output_tokens": 10},
        }

    def route(self, seen: Seen):
        parts = seen.path.removeprefix("/v1/").split("/")
        if parts == ["messages"]:
            return self.message(seen.body)
        if parts == ["messages", "batches"] and seen.method == "POST":
            name, lost = self.new_batch("msgbatch_", requests=seen.body["requests"], version=seen.headers["anthropic-version"])
            return DROP if lost else self.batch(name)
        if parts == ["messages", "batches"]:
            names = sorted(self.batches, reverse=True)
            after = seen.query.get("after_id")
            names = names[names.index(after[0]) + 1 :] if after else names
            page = names[: min(2, int(seen.query.get("limit", ["20"])[0]))]
            ends = {"first_id": page[0] if page else None, "last_id": page[-1] if page else None}
            return {"data": [self.batch(name) for name in page], "has_more": len(names) > len(page), **ends}
        if parts[-1] == "results":
            return Said(self.results(self.batches[parts[2]]["requests"]), headers={"content-type": "application/x-jsonl"})
        return self.batch(parts[2], look=True)

    def batch(self, name: str, *, look: bool = False) -> dict:
        known = self.batches[name]
        if look and not known.get("ended"):
            known["ended"] = self.ended(name)
        ended, total = known.get("ended", False), len(known["requests"])
        counts = {"processing": 0 if ended else total, "succeeded": total if ended else 0, "errored": 0, "canceled": 0, "expired": 0}
        return {
            "id": name,
            "type": "message_batch",
            "processing_status": "ended" if ended else "in_progress",
            "request_counts": counts,
            "created_at": "2026-11-25T00:00:00Z",
            "expires_at": "2026-11-26T00:00:00Z",
            "ended_at": None,
            "archived_at": None,
            "cancel_initiated_at": None,
            "results_url": f"{self.url}/v1/messages/batches/{name}/results" if ended else None,
        }

    def results(self, requests: list[dict]) -> bytes:
        lines: list[dict] = []
        for request in reversed(requests):
            fate = self.fate_of(request["params"]["messages"][-1]["content"])
            if fate == EXPIRED:
                result = {"type": "expired"}
            elif fate == REFUSED:
                error = {"type": "invalid_request_error", "message": "messages: too long"}
                result = {"type": "errored", "error": {"type": "error", "error": error}}
            elif fate == ERROR:
                error = {"type": "api_error", "message": "Internal server error"}
                result = {"type": "errored", "error": {"type": "error", "error": error}}
            else:
                result = {"type": "succeeded", "message": self.message(request["params"])}
            lines.append({"custom_id": request["custom_id"], "result": result})
        return "".join(json.dumps(line) + "\n" for line in lines).encode()


class GoogleWorld(World):
    """`generateContent`, files and batches."""

    def response(self, request: dict) -> dict:
        text = self.answered(request["contents"][-1]["parts"][0]["text"])
        return {
            "candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 100, "candidatesTokenCount": 10, "totalTokenCount": 110},
            "modelVersion": "gemini-test-001",
        }

    def route(self, seen: Seen):
        path = seen.path
        if path.endswith(":generateContent"):
            return self.response(seen.body)
        if path.startswith("/upload") and seen.headers.get("x-goog-upload-command") == "start":
            return Said({}, headers={"X-Goog-Upload-URL": f"{self.url}/uploading", "X-Goog-Upload-Status": "active"})
        if path == "/uploading":
            name = f"files/f{len(self.files):03}"
            self.files[name] = seen.raw
            return Said({"file": {"name": name, "uri": name}}, headers={"X-Goog-Upload-Status": "final"})
        if path.endswith(":batchGenerateContent"):
            batch = seen.body["batch"]
            name, lost = self.new_batch("batches/b", input=batch["inputConfig"]["fileName"], display_name=batch["displayName"])
            return DROP if lost else self.batch(name)
        if path.endswith(":download"):
            return Said(self.files["files/" + path.rpartition("files/")[2].removesuffix(":download")])
        if path.endswith("/batches"):
            return {"operations": [self.batch(name) for name in self.batches]}
        return self.batch("batches/" + path.rpartition("/")[2], look=True)

    def batch(self, name: str, *, look: bool = False) -> dict:
        known = self.batches[name]
        if look and "state" not in known and self.ended(name):
            known["state"] = self.status or "BATCH_STATE_SUCCEEDED"
        if known.get("state") == "BATCH_STATE_SUCCEEDED" and "output" not in known:
            known["output"] = f"files/f{len(self.files):03}"
            lines: list[dict] = []
            for request in (json.loads(line) for line in self.files[known["input"]].splitlines()):
                if self.fate_of(request["request"]["contents"][-1]["parts"][0]["text"]) == ERROR:
                    lines.append({"key": request["key"], "error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}})
                else:
                    lines.append({"key": request["key"], "response": self.response(request["request"])})
            self.files[known["output"]] = "".join(json.dumps(line) + "\n" for line in lines).encode()
        metadata = {"displayName": known["display_name"], "state": known.get("state", "BATCH_STATE_RUNNING")}
        if "output" in known:
            metadata["output"] = {"responsesFile": known["output"]}
        return {"name": name, "metadata": metadata}
