"""A Hub on this machine: the parts of the Hub's HTTP protocol that downloads and uploads of models use.

Files above a size go through the LFS protocol, as at the Hub; every request is kept, so that tests can count them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import yaml

OWNER_TOKEN = "hf_owner"
LARGEST_REGULAR = 20_000
"""Bytes of files that come with the commit itself."""


@dataclass
class Repository:
    private: bool = False
    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)
    """Hash and files of each, the newest last."""
    messages: list[str] = field(default_factory=list)

    def add(self, files: dict[str, bytes], message: str) -> str:
        digest = hashlib.sha1(f"{len(self.commits)}{sorted(files)}".encode()).hexdigest()
        self.commits.append((digest, files))
        self.messages.append(message)
        return digest

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        if revision == "main":
            return self.commits[-1]
        return next((commit for commit in self.commits if commit[0] == revision), None)


class Hub(ThreadingHTTPServer):
    """Answers until the block ends."""

    daemon_threads = True

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}  # of LFS, by their hash
        self.requests: list[str] = []
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._note()
        parts = self._parts()
        if parts[:2] == ["api", "models"] and parts[4:5] in (["revision"], []):
            repository = self._readable("/".join(parts[2:4]))
            if repository is not None and (commit := self._commit(repository, (parts[5:] or ["main"])[0])):
                siblings = [{"rfilename": path} for path in commit[1]]
                answer = {"id": "/".join(parts[2:4]), "sha": commit[0], "siblings": siblings, "tags": []}
                self._json(answer | {"private": repository.private})
        elif parts[:2] == ["api", "models"] and parts[4] == "tree":
            repository = self._readable("/".join(parts[2:4]))
            if repository is not None and (commit := self._commit(repository, parts[5])):
                self._json([_entry(path, data) for path, data in commit[1].items()])
        elif parts[2:3] == ["resolve"]:
            self._file(parts, with_body=True)
        else:
            self._error(404, "EntryNotFound")

    def do_HEAD(self) -> None:
        self._note()
        self._file(self._parts(), with_body=False)

    def do_POST(self) -> None:
        self._note()
        body, parts = self._body(), self._parts()
        if parts == ["api", "validate-yaml"]:
            answer = _validated(json.loads(body)["content"])
            self._json(answer, status=400 if answer["errors"] else 200)
        elif self.headers.get("Authorization") != f"Bearer {OWNER_TOKEN}":
            self._error(401, "", "Invalid username or password.")
        elif parts == ["api", "repos", "create"]:
            self._create(json.loads(body))
        elif parts[:2] == ["api", "models"] and parts[4] == "preupload":
            self._preupload(json.loads(body))
        elif parts[2:] == ["info", "lfs", "objects", "batch"]:
            objects = [self._upload_of(entry) for entry in json.loads(body)["objects"]]
            self._json({"transfer": "basic", "objects": objects})
        elif parts[:2] == ["api", "models"] and parts[4] == "commit":
            self._take_commit("/".join(parts[2:4]), [json.loads(line) for line in body.splitlines()])
        else:
            self._error(404, "EntryNotFound")

    def do_PUT(self) -> None:
        self._note()
        body = self._body()
        oid = self._parts()[1]
        assert hashlib.sha256(body).hexdigest() == oid, "an upload that is not what was announced"
        self.server.objects[oid] = body
        self._json({})

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""

    def _note(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")

    def _parts(self) -> list[str]:
        return [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _readable(self, name: str) -> Repository | None:
        """A repository, if it is there for who asks; the Hub does not let others know that a private one is there."""
        repository = self.server.repositories.get(name)
        is_owner = self.headers.get("Authorization") == f"Bearer {OWNER_TOKEN}"
        if repository is None or (repository.private and not is_owner):
            self._error(404 if is_owner else 401, "RepoNotFound")
            return None
        return repository

    def _commit(self, repository: Repository, revision: str) -> tuple[str, dict[str, bytes]] | None:
        commit = repository.at(revision)
        if commit is None:
            self._error(404, "RevisionNotFound")
        return commit

    def _file(self, parts: list[str], *, with_body: bool) -> None:
        repository = self._readable("/".join(parts[:2]))
        if repository is None or (commit := self._commit(repository, parts[3])) is None:
            return
        data = commit[1].get("/".join(parts[4:]))
        if data is None:
            self._error(404, "EntryNotFound")
            return
        headers = {"ETag": f'"{_oid(data)}"', "X-Repo-Commit": commit[0], "Content-Type": "application/octet-stream"}
        self._answer(200, data, headers, with_body=with_body)

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.server.repositories:
            self._json({"url": f"{self.server.url}/{name}", "id": name}, status=409)
            return
        repository = Repository(private=asked.get("visibility") == "private" or bool(asked.get("private")))
        repository.add({".gitattributes": b"*.safetensors filter=lfs\n"}, "initial commit")
        self.server.repositories[name] = repository
        self._json({"url": f"{self.server.url}/{name}", "id": name})

    def _preupload(self, asked: dict[str, Any]) -> None:
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["size"] > LARGEST_REGULAR else "regular",
                "shouldIgnore": False,
            }
            for file in asked["files"]
        ]
        self._json({"files": files})

    def _upload_of(self, entry: dict[str, Any]) -> dict[str, Any]:
        if entry["oid"] in self.server.objects:
            return entry  # there already, so nothing is to be sent
        return {**entry, "actions": {"upload": {"href": f"{self.server.url}/objects/{entry['oid']}"}}}

    def _take_commit(self, name: str, lines: list[dict[str, Any]]) -> None:
        repository = self.server.repositories[name]
        files, message = dict(repository.commits[-1][1]), ""
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                message = value["summary"]
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.objects[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
            else:
                raise AssertionError(f"what is {line['key']}?")
        digest = repository.add(files, message)
        self._json({"commitUrl": f"{self.server.url}/{name}/commit/{digest}", "commitOid": digest, "success": True})

    def _json(self, content: Any, *, status: int = 200) -> None:
        self._answer(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _error(self, status: int, code: str, message: str = "") -> None:
        headers = {"Content-Type": "application/json", **({"X-Error-Code": code} if code else {})}
        self._answer(status, json.dumps({"error": message or code}).encode(), headers)

    def _answer(self, status: int, data: bytes, headers: dict[str, str], *, with_body: bool = True) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body and self.command != "HEAD":
            self.wfile.write(data)


def _validated(card: str) -> dict[str, Any]:
    """What the Hub says of the data before a card."""
    errors = []
    data = yaml.safe_load(card.split("---\n")[1])
    if data.get("license") not in (None, "apache-2.0", "mit"):  # there are more
        errors.append({"message": '"license" must be one of those that the Hub lists'})
    for result in (result for model in data.get("model-index", ()) for result in model["results"]):
        if "type" not in result["task"] or not {"type", "name"} <= set(result["dataset"]):
            errors.append({"message": '"model-index[0].results[0]" is not whole'})
        if not all(isinstance(metric["value"], int | float) for metric in result["metrics"]):
            errors.append({"message": "a metric has no value"})
    return {"errors": errors, "warnings": []}


def _entry(path: str, data: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": _oid(data)}
    if len(data) > LARGEST_REGULAR:
        entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return entry


def _oid(data: bytes) -> str:
    """The name that git gives a file; of LFS, its own hash."""
    if len(data) > LARGEST_REGULAR:
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
