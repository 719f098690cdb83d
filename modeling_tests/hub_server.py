"""A Hub on the loopback interface: the part of its HTTP API that `huggingface_hub` uses without Xet.

Clients are told where it is by `HF_ENDPOINT`, and to leave Xet alone by `HF_HUB_DISABLE_XET=1`: then large files travel by
the Git LFS protocol, which is plain HTTP and can be served here. Everything is kept in memory: content by its hash, commits
as a list of paths, branches as names of commits, so that a test can ask what was published, and in how many commits.

[`HubServer.interrupt`] breaks connections, the way networks do.
"""

import base64
import hashlib
import json
import re
import socket
import struct
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from .card_metadata import card_errors, card_metadata


TOKEN = "hf_" + "loopback" * 4
# May read, and nothing else.
READ_TOKEN = "hf_" + "readonly" * 4
USER = "user"
# Files from this size on, and weights of any size, go through LFS.
LFS_BYTES = 10_000
LFS_SUFFIXES = (".safetensors", ".bin", ".png")


@dataclass(frozen=True)
class Blob:
    """A file's content, and how it was uploaded."""

    content: bytes
    is_lfs: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def git_oid(self) -> str:
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.is_lfs else self.git_oid


@dataclass(frozen=True)
class Commit:
    """A state of a repository."""

    oid: str
    message: str
    files: dict[str, Blob]


@dataclass
class Repo:
    """A repository: its branches are lists of commits, the newest last."""

    repo_id: str
    private: bool
    branches: dict[str, list[Commit]] = field(default_factory=dict)

    def commit(self, branch: str, message: str, files: dict[str, Blob]) -> Commit:
        history = self.branches[branch]
        content = "".join(f"{path}{blob.etag}" for path, blob in sorted(files.items()))
        oid = hashlib.sha1(f"{self.repo_id}{len(history)}{message}{content}".encode()).hexdigest()
        history.append(Commit(oid, message, files))
        return history[-1]

    def at(self, revision: str) -> Commit | None:
        if revision in self.branches:
            return self.branches[revision][-1]
        commits = (commit for history in self.branches.values() for commit in history)
        return next((commit for commit in commits if commit.oid == revision), None)


class HubServer:
    """The server, in a thread of this process, as a context manager.

    Attributes:
        repos: Everything that was published, by id.
        requests: What was asked for: method and path, in order.
        lfs_uploads: SHA-256 of the large files in the order in which they arrived whole.
    """

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.ranges: list[str] = []
        self.lfs_uploads: list[str] = []
        self.lock = threading.Lock()
        self._interruption: Callable[[str, str], bool] | None = None
        self._answered_first = False
        hub = self

        class BoundHandler(_Handler):
            server_hub = hub

        # As on the real Hub, large files lie on another server than the API: a client tells the two redirects apart.
        self._http, self._storage = (_Server(("127.0.0.1", 0), BoundHandler) for _ in range(2))

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    @property
    def storage(self) -> str:
        return f"http://127.0.0.1:{self._storage.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a client's process needs to talk to this Hub and no other, as a user who is logged in."""
        return {
            "HF_ENDPOINT": self.endpoint,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_OFFLINE": "0",
            "HF_TOKEN": TOKEN,
        }

    def interrupt(self, when: Callable[[str, str], bool] | None, after: bool = False) -> None:
        """Reset the connection of every request for which `when(method, path)` is true, until told otherwise.

        The head of such a request, and some of its body if it has one, are read first; `after`: what it asks for is done,
        and only the answer is lost.
        """
        self._interruption, self._answered_first = when, after

    def interrupts(self, method: str, path: str) -> bool:
        return self._interruption is not None and self._interruption(method, path)

    def __enter__(self) -> "HubServer":
        for server in (self._http, self._storage):
            # It looks so often (in seconds) whether it is to stop.
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in (self._http, self._storage):
            server.shutdown()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that tests kill, or whose connections they reset, are no news; everything else is."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Problem(Exception):
    """An answer that says no: status, the Hub's error code, and a message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status, self.code, self.message = status, code, message


# Method, pattern of the path, name of the handler's method. The first that matches answers.
_ID = r"(?P<repo_id>[^/]+/[^/]+)"
_KIND = r"/api/(?P<kind>models|datasets)"
_ROUTES = [
    ("GET", r"/api/whoami-v2", "whoami"),
    ("POST", r"/api/validate-yaml", "validate"),
    ("POST", r"/api/repos/create", "create"),
    ("POST", rf"{_KIND}/{_ID}/preupload/(?P<revision>[^/]+)", "preupload"),
    ("POST", rf"{_KIND}/{_ID}/commit/(?P<revision>[^/]+)", "commit"),
    ("POST", rf"{_KIND}/{_ID}/branch/(?P<branch>[^/]+)", "branch"),
    ("POST", rf"{_KIND}/{_ID}/paths-info/(?P<revision>[^/]+)", "paths_info"),
    ("GET", rf"{_KIND}/{_ID}/tree/(?P<revision>[^/]+)(?:/(?P<folder>.+))?", "tree"),
    ("GET", rf"{_KIND}/{_ID}/refs", "refs"),
    ("GET", rf"{_KIND}/{_ID}(?:/revision/(?P<revision>[^/]+))?", "info"),
    ("POST", rf"/(?:datasets/)?{_ID}\.git/info/lfs/objects/batch", "lfs_batch"),
    ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", "lfs_put"),
    ("POST", r"/lfs/(?P<oid>[0-9a-f]{64})/verify", "lfs_verify"),
    ("GET", r"/lfs/(?P<oid>[0-9a-f]{64})", "lfs_get"),
    ("GET", rf"/(?:datasets/)?{_ID}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "resolve"),
]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_hub: HubServer

    def log_message(self, format: str, *args: Any) -> None:
        """Tests look at what was asked for; nothing needs printing."""

    def do_GET(self) -> None:
        self._answer("GET")

    def do_HEAD(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PUT(self) -> None:
        self._answer("PUT")

    # ---- requests and answers

    def _answer(self, method: str) -> None:
        self.hub = self.server_hub
        parts = urlsplit(self.path)
        self.query = parse_qs(parts.query)
        self.hub.requests.append((self.command, parts.path))
        self.is_lost = self.hub.interrupts(self.command, parts.path)
        if self.is_lost and not self.hub._answered_first:
            self._reset()
            return
        self.body = self._read_body()
        for route_method, pattern, name in _ROUTES:
            if route_method == method and (match := re.fullmatch(pattern, parts.path)):
                values = {key: unquote(value) for key, value in match.groupdict(default="").items() if key != "kind"}
                try:
                    with self.hub.lock:
                        getattr(self, name)(**values)
                except _Problem as problem:
                    headers = {"X-Error-Code": problem.code, "X-Error-Message": problem.message}
                    self._send(json.dumps({"error": problem.message}).encode(), problem.status, headers)
                return
        self._send(b'{"error": "no such route"}', 404)

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            chunks = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _reset(self, body_is_read: bool = False) -> None:
        """Read a little, then send a TCP reset, as a router that forgot the connection does."""
        if not body_is_read and (length := int(self.headers.get("Content-Length") or 0)):
            self.rfile.read(min(1024, length // 2))
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def _send(self, content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        if self.is_lost:
            self._reset(body_is_read=True)
            return
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _send_json(self, content: Any, status: int = 200) -> None:
        self._send(json.dumps(content).encode(), status)

    def _send_range(self, content: bytes, headers: dict[str, str]) -> None:
        """The whole content, or the bytes that a Range header asks for."""
        headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", **headers}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if asked is None:
            self._send(content, 200, headers)
            return
        self.hub.ranges.append(asked[0])
        start = int(asked[1])
        end = min(int(asked[2] or len(content) - 1), len(content) - 1)
        if start > end:
            self._send(b"", 416, {"Content-Range": f"bytes */{len(content)}"})
            return
        headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
        self._send(content[start : end + 1], 206, headers)

    # ---- who may do what

    def _is_user(self) -> bool:
        return self.headers.get("Authorization") in (f"Bearer {TOKEN}", f"Bearer {READ_TOKEN}")

    def _must_be_user(self) -> None:
        if not self._is_user():
            raise _Problem(401, "", "Invalid credentials in Authorization header")

    def _must_write(self) -> None:
        self._must_be_user()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise _Problem(403, "", "You must use a token with write access")

    def _repo(self, repo_id: str, to_write: bool = False) -> Repo:
        if to_write:
            self._must_write()
        repo = self.hub.repos.get(repo_id)
        if repo is None or (repo.private and not self._is_user()):
            raise _Problem(404 if self._is_user() else 401, "RepoNotFound", "Repository not found")
        return repo

    def _commit(self, repo_id: str, revision: str) -> Commit:
        commit = self._repo(repo_id).at(revision or "main")
        if commit is None:
            raise _Problem(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit

    # ---- accounts, cards, repositories

    def whoami(self) -> None:
        self._must_be_user()
        role = "write" if self.headers.get("Authorization") == f"Bearer {TOKEN}" else "read"
        token = {"displayName": "loopback", "role": role}
        auth = {"type": "access_token", "accessToken": token}
        self._send_json({"type": "user", "name": USER, "auth": auth, "orgs": []})

    def validate(self) -> None:
        """What the Hub says about a card's metadata, as far as its documentation says what it wants."""
        errors = card_errors(json.loads(self.body)["content"])
        found = [{"message": error} for error in errors]
        self._send_json({"errors": found, "warnings": []}, 400 if errors else 200)

    def create(self) -> None:
        self._must_write()
        asked = json.loads(self.body)
        repo_id = f"{asked.get('organization') or USER}/{asked['name']}"
        if not repo_id.startswith(f"{USER}/"):
            raise _Problem(403, "", f"You don't have the rights to create a model under the namespace {repo_id}")
        url = f"{self.hub.endpoint}/{repo_id}"
        if repo_id in self.hub.repos:
            self._send_json({"error": "You already created this model repo", "url": url}, 409)
            return
        repo = Repo(repo_id, private=asked.get("visibility") == "private" or bool(asked.get("private")))
        repo.branches["main"] = []
        repo.commit("main", "initial commit", {".gitattributes": Blob(b"*.safetensors filter=lfs\n", is_lfs=False)})
        self.hub.repos[repo_id] = repo
        self._send_json({"url": url})

    def branch(self, repo_id: str, branch: str) -> None:
        repo = self._repo(repo_id, to_write=True)
        if branch in repo.branches:
            self._send_json({"error": f"Reference already exists: {branch}"}, 409)
            return
        repo.branches[branch] = list(repo.branches["main"])
        self._send_json({})

    def info(self, repo_id: str, revision: str) -> None:
        commit = self._commit(repo_id, revision)
        card = commit.files.get("README.md")
        data = card_metadata(card.content.decode()) if card else {}
        self._send_json(
            {
                "id": repo_id,
                "sha": commit.oid,
                "private": self.hub.repos[repo_id].private,
                "tags": data.get("tags", []),
                "pipeline_tag": data.get("pipeline_tag"),
                "library_name": data.get("library_name"),
                "cardData": data,
                "siblings": [{"rfilename": path, **_details(blob)} for path, blob in sorted(commit.files.items())],
            }
        )

    def refs(self, repo_id: str) -> None:
        branches = self._repo(repo_id).branches
        found = [
            {"name": name, "ref": f"refs/heads/{name}", "targetCommit": history[-1].oid}
            for name, history in branches.items()
        ]
        self._send_json({"branches": found, "converts": [], "tags": []})

    def tree(self, repo_id: str, revision: str, folder: str) -> None:
        """All files below a folder; folders themselves too, unless asked to look inside them."""
        commit = self._commit(repo_id, revision)
        prefix = f"{folder}/" if folder else ""
        inside = {path: blob for path, blob in sorted(commit.files.items()) if path.startswith(prefix)}
        if not inside:
            raise _Problem(404, "EntryNotFound", f"{folder} does not exist on {revision}")
        folders: dict[str, None] = {}
        files = []
        for path, blob in inside.items():
            parents = path.removeprefix(prefix).split("/")[:-1]
            folders |= dict.fromkeys(prefix + "/".join(parents[: depth + 1]) for depth in range(len(parents)))
            if not parents or self.query.get("recursive", ["false"])[0].lower() == "true":
                files.append(_entry(path, blob))
        self._send_json(
            [{"type": "directory", "path": path, "oid": commit.oid, "size": 0} for path in folders] + files
        )

    def paths_info(self, repo_id: str, revision: str) -> None:
        asked = json.loads(self.body)["paths"] if self.body.startswith(b"{") else parse_qs(self.body.decode())["paths"]
        files = self._commit(repo_id, revision).files
        self._send_json([_entry(path, files[path]) for path in asked if path in files])

    # ---- upload

    def preupload(self, repo_id: str, revision: str) -> None:
        self._repo(repo_id, to_write=True)
        there = self._commit(repo_id, revision).files
        files = []
        for file in json.loads(self.body)["files"]:
            is_lfs = file["size"] >= LFS_BYTES or file["path"].endswith(LFS_SUFFIXES)
            same_path = there.get(file["path"])
            mode = {"path": file["path"], "uploadMode": "lfs" if is_lfs else "regular", "shouldIgnore": False}
            files.append(mode | ({"oid": same_path.etag} if same_path else {}))
        self._send_json({"files": files})

    def lfs_batch(self, repo_id: str) -> None:
        self._repo(repo_id, to_write=True)
        objects = []
        for asked in json.loads(self.body)["objects"]:
            href = f"{self.hub.storage}/lfs/{asked['oid']}"
            actions = {"upload": {"href": href}, "verify": {"href": f"{href}/verify"}}
            is_there = asked["oid"] in self.hub.objects
            objects.append({"oid": asked["oid"], "size": asked["size"]} | ({} if is_there else {"actions": actions}))
        self._send_json({"transfer": "basic", "objects": objects})

    def lfs_put(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise _Problem(400, "", "The content is not what its hash says")
        self.hub.objects[oid] = self.body
        self.hub.lfs_uploads.append(oid)
        self._send(b"")

    def lfs_verify(self, oid: str) -> None:
        asked = json.loads(self.body)
        if len(self.hub.objects.get(oid, b"")) != asked["size"]:
            raise _Problem(404, "", "Object not found")
        self._send_json({})

    def commit(self, repo_id: str, revision: str) -> None:
        repo = self._repo(repo_id, to_write=True)
        files = dict(self._commit(repo_id, revision).files)
        header, *operations = [json.loads(line) for line in self.body.splitlines()]
        for operation in operations:
            value = operation["value"]
            match operation["key"]:
                case "file":
                    files[value["path"]] = Blob(base64.b64decode(value["content"]), is_lfs=False)
                case "lfsFile":
                    if value["oid"] not in self.hub.objects:
                        raise _Problem(400, "", f"LFS pointer of {value['path']} points to a file that does not exist")
                    files[value["path"]] = Blob(self.hub.objects[value["oid"]], is_lfs=True)
                case "deletedFile":
                    if files.pop(value["path"], None) is None:
                        raise _Problem(404, "EntryNotFound", "A file with this name doesn't exist")
                case unknown:
                    raise _Problem(400, "", f"Unknown operation {unknown}")
        oid = repo.commit(revision, header["value"]["summary"], files).oid
        self._send_json(
            {"success": True, "commitOid": oid, "commitUrl": f"{self.hub.endpoint}/{repo_id}/commit/{oid}"}
        )

    # ---- download

    def resolve(self, repo_id: str, revision: str, path: str) -> None:
        commit = self._commit(repo_id, revision)
        blob = commit.files.get(path)
        headers = {"X-Repo-Commit": commit.oid}
        if blob is None:
            missing = {**headers, "X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}
            self._send(b"Entry not found", 404, missing)
        elif blob.is_lfs:
            # Only the redirect knows the repository.
            linked = {"X-Linked-Etag": f'"{blob.etag}"', "X-Linked-Size": str(len(blob.content))}
            self._send(b"", 302, {**headers, **linked, "Location": f"{self.hub.storage}/lfs/{blob.sha256}"})
        else:
            self._send_range(blob.content, {**headers, "ETag": f'"{blob.etag}"'})

    def lfs_get(self, oid: str) -> None:
        self._send_range(self.hub.objects[oid], {"ETag": f'"{oid}"'})


def _details(blob: Blob) -> dict[str, Any]:
    details: dict[str, Any] = {"size": len(blob.content), "blobId": blob.git_oid}
    if blob.is_lfs:
        details["lfs"] = {"size": len(blob.content), "sha256": blob.sha256, "pointerSize": 134}
    return details


def _entry(path: str, blob: Blob) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(blob.content), "oid": blob.git_oid}
    if blob.is_lfs:
        entry["lfs"] = {"size": len(blob.content), "oid": blob.sha256, "pointerSize": 134}
    return entry


def main() -> None:
    """Serve until Ctrl-C: `python -m modeling_tests.hub_server`, and in another shell what it prints."""
    with HubServer() as hub:
        print(*(f"export {name}={value}" for name, value in hub.environment.items()), sep="\n", flush=True)
        # Who is in its cache already is not asked for.
        print("export HF_HOME=$(mktemp -d)", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print(*(f"{name}: {len(repo.branches['main']) - 1} commits" for name, repo in hub.repos.items()), sep="\n")


if __name__ == "__main__":
    main()
