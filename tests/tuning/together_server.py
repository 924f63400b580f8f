"""A local server with the interface and failures of Together's fine-tuning service."""

from __future__ import annotations

import email
import email.policy
import json

from tests.hosted.vendor_server import DROP, HANG, Said, Seen, VendorServer

KEY = "tgp_v1_secret-0123456789"
LIMITS = {
    "model_name": "org/base",
    "max_num_epochs": 20,
    "max_num_evals": 100,
    "max_num_checkpoints": 10,
    "max_learning_rate": 1.0,
    "min_learning_rate": 1e-08,
    "max_seq_length_sft": 8192,
    "min_max_seq_length": 256,
    "lora_training": {"max_batch_size": 16, "min_batch_size": 1, "max_rank": 64, "default_rank": 8, "target_modules": ["q_proj"]},
}


def problem(message: str, code: str | None = None) -> dict:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


class Together:
    """`fates` is the outcome of each POST of a job: `ok`, `drop`, `hang`, `nameless` (made, reply without id) or `500` (not made)."""

    def __init__(self) -> None:
        self.server = VendorServer(self.reply)
        self.files: dict[str, bytes] = {}
        self.looks: dict[str, int] = {}
        self.jobs: list[dict] = []
        self.fates: list[str] = []
        self.limits = dict(LIMITS)
        self.price: dict = {"estimation_available": True, "estimated_total_price": 1.25, "allowed_to_proceed": True, "user_limit": 100}
        self.invalid: str | None = None
        self.ends = "completed"

    @property
    def url(self) -> str:
        return self.server.url + "/v1"

    def paths(self, method: str) -> list[str]:
        return [seen.path.removeprefix("/v1") for seen in self.server.seen if seen.method == method]

    def __enter__(self) -> Together:
        self.server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.__exit__()

    def reply(self, seen: Seen):
        if seen.headers.get("authorization") != f"Bearer {KEY}":
            return Said(problem(f"Incorrect API key provided: {seen.headers.get('authorization')}", "invalid_api_key"), 401)
        path = seen.path.removeprefix("/v1")
        if path == "/files/upload":
            return self.upload(seen)
        if path.startswith("/files/"):
            return self.file(path.rpartition("/")[2])
        if path == "/fine-tunes/models/limits":
            known = seen.query["model_name"] == ["org/base"]
            return Said(self.limits) if known else Said(problem("The model does not exist", "model_not_found"), 404)
        if path == "/fine-tunes/estimate-price":
            return Said(self.price)
        if path == "/fine-tunes":
            return self.create(seen.body) if seen.method == "POST" else Said({"data": self.jobs})
        if path == "/chat/completions":
            return self.chat(seen.body)
        return self.job(path.rpartition("/")[2])

    def upload(self, seen: Seen):
        whole = email.message_from_bytes(
            b"content-type: " + seen.headers["content-type"].encode() + b"\r\n\r\n" + seen.raw, policy=email.policy.HTTP
        )
        parts = {part.get_param("name", header="content-disposition"): part for part in whole.iter_parts()}
        assert parts["purpose"].get_payload(decode=True) == b"fine-tune"
        assert parts["file_name"].get_payload(decode=True).decode().endswith(".jsonl")
        content = parts["file"].get_payload(decode=True)
        for name, known in self.files.items():
            if known == content:
                return Said({"file_id": name, "message": "file exists"}, 409)
        name = f"file-{len(self.files)}"
        self.files[name] = content
        return {"id": name, "object": "file", "purpose": "fine-tune", "bytes": len(content), "FileType": "jsonl"}

    def file(self, name: str):
        self.looks[name] = self.looks.get(name, 0) + 1
        rows = [json.loads(line) for line in self.files[name].decode().splitlines()]
        if self.looks[name] == 1:
            return {"id": name, "processing_status": "RUNNING"}
        if self.invalid is not None:
            report = {"valid": False, "error": self.invalid, "error_type": "INVALID_FORMAT"}
            return {"id": name, "processing_status": "INVALID_FORMAT", "validation_report": report}
        return {"id": name, "processing_status": "COMPLETED", "validation_report": {"valid": True, "nlines": len(rows)}}

    def create(self, body: dict):
        fate = self.fates.pop(0) if self.fates else "ok"
        if fate == "500":
            return Said(problem("try again"), 500)
        assert body["training_file"] in self.files
        made = {**body, "id": f"ft-{len(self.jobs)}", "status": "pending", "looks": 0, "model_output_name": f"acct/base-{body['suffix']}"}
        self.jobs.append(made)
        return {"nameless": Said({"status": "pending"}), "ok": Said({"id": made["id"], "status": "pending"}), "drop": DROP, "hang": HANG}[
            fate
        ]

    def job(self, name: str):
        found = next((job for job in self.jobs if job["id"] == name), None)
        if found is None:
            return Said(problem("no such job"), 404)
        found["looks"] += 1
        if found["looks"] > 2:
            found["status"] = self.ends
        events = [{"object": "fine-tune-event", "message": "Training started"}, {"object": "fine-tune-event", "message": "out of funds"}]
        return Said({**found, "events": events})

    def chat(self, body: dict):
        known = any(body["model"] == job["model_output_name"] for job in self.jobs if job["status"] == "completed")
        if not known:
            return Said(problem("The model does not exist", "model_not_found"), 404)
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Answer: 2"}}
        return {"model": body["model"], "choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}}
