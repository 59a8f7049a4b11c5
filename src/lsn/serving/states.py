"""Snapshots of live streams, under tokens that their clients hold, where other processes find them."""

from __future__ import annotations

import hashlib
import logging
import queue
import re
import secrets
import struct
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

from lsn.errors import ConfigError, LSNError
from lsn.files import atomic_path

logger = logging.getLogger(__name__)

KEEP_SECONDS = 3600
"""How long a stream can be resumed."""
MAX_IN_MEMORY = 256 << 20
"""Bytes of snapshots that a server without a store keeps."""
STORE_SECONDS = 2.0
"""How long a store may take to answer."""
_SUFFIX = ".lsnstate"
_HEADER = struct.Struct("<Qd")


class StateStoreError(LSNError):
    """A store does not answer."""


class StateStore(Protocol):
    """Keeps bytes by key for `KEEP_SECONDS`. Every method raises a `StateStoreError` if the store fails."""

    outlives_process: bool

    def put(self, key: str, content: bytes) -> None:
        """Keeps them, in place of what was there."""

    def get(self, key: str) -> bytes | None:
        """What is there; None if nothing is."""

    def remove(self, key: str) -> None:
        """Forgets it, if it is there."""


class MemoryStore:
    """In this process, for clients whose network fails."""

    outlives_process = False

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._size = 0

    def put(self, key: str, content: bytes) -> None:  # noqa: D102
        self.remove(key)
        self._kept[key] = time.monotonic(), content
        self._size += len(content)
        while self._size > MAX_IN_MEMORY:
            self.remove(next(iter(self._kept)))

    def get(self, key: str) -> bytes | None:  # noqa: D102
        at, content = self._kept.get(key, (0.0, None))
        return content if time.monotonic() - at <= KEEP_SECONDS else None

    def remove(self, key: str) -> None:  # noqa: D102
        _, content = self._kept.pop(key, (0.0, b""))
        self._size -= len(content)


class FolderStore:
    """Files in a folder, which the servers of several machines may share.

    Raises:
        ConfigError: nothing can be written there.
    """

    outlives_process = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
            self._remove_old()
        except OSError as error:
            raise ConfigError(f"--state-store {folder}: nothing can be written there ({error.strerror})") from None

    def put(self, key: str, content: bytes) -> None:  # noqa: D102
        try:
            with atomic_path(self._path(key)) as partial:
                partial.chmod(0o600)  # it holds a picture
                partial.write_bytes(content)
            self._remove_old()
        except OSError as error:
            raise StateStoreError(f"{self._folder}: {error.strerror}") from error

    def get(self, key: str) -> bytes | None:  # noqa: D102
        try:
            is_old = time.time() - self._path(key).stat().st_mtime > KEEP_SECONDS
            return None if is_old else self._path(key).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateStoreError(f"{self._folder}: {error.strerror}") from error

    def remove(self, key: str) -> None:  # noqa: D102
        try:
            self._path(key).unlink(missing_ok=True)
        except OSError as error:
            raise StateStoreError(f"{self._folder}: {error.strerror}") from error

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}{_SUFFIX}"

    def _remove_old(self) -> None:
        oldest = time.time() - KEEP_SECONDS
        for path in self._folder.glob(f"*{_SUFFIX}"):
            try:
                if path.stat().st_mtime < oldest:
                    path.unlink()
            except FileNotFoundError:  # another server was faster
                continue


class RedisStore:
    """A Redis server, by its address (redis://, rediss:// or unix://).

    Raises:
        ConfigError: it does not answer, or the library is not installed.
    """

    outlives_process = True

    def __init__(self, address: str) -> None:
        try:
            import redis
        except ModuleNotFoundError:
            raise ConfigError("--state-store redis:// needs redis: pip install 'lsn-video[serve]'") from None
        self._error: type[Exception] = redis.RedisError
        parts = urlsplit(address)
        self._name = f"{parts.scheme}://{parts.hostname or ''}{parts.path}"  # without a password
        try:
            self._client: Any = redis.Redis.from_url(
                address, socket_timeout=STORE_SECONDS, socket_connect_timeout=STORE_SECONDS
            )
            self._client.ping()
        except (redis.RedisError, ValueError) as error:
            raise ConfigError(f"--state-store {self._name}: {error}; is the server running?") from None

    def put(self, key: str, content: bytes) -> None:  # noqa: D102
        self._ask(lambda: self._client.set(_redis_key(key), content, ex=KEEP_SECONDS))

    def get(self, key: str) -> bytes | None:  # noqa: D102
        return self._ask(lambda: self._client.get(_redis_key(key)))

    def remove(self, key: str) -> None:  # noqa: D102
        self._ask(lambda: self._client.delete(_redis_key(key)))

    def _ask(self, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except self._error as error:
            raise StateStoreError(f"{self._name}: {error}") from error


def _redis_key(key: str) -> str:
    return f"lsn:state:{key}"


def open_store(place: str | None) -> StateStore:
    """A folder, a Redis server by its address, or the memory of this process for None.

    Raises:
        ConfigError: it cannot be used.
    """
    if place is None:
        return MemoryStore()
    if "://" not in place:
        return FolderStore(Path(place))
    if urlsplit(place).scheme in ("redis", "rediss", "unix"):
        return RedisStore(place)
    raise ConfigError(f"--state-store {urlsplit(place).scheme}://: expected a folder or redis://HOST:PORT")


def new_token() -> str:
    """What a client shows to resume its stream; nobody can guess it."""
    return secrets.token_urlsafe(24)


def is_token(text: object) -> bool:
    """Whether it can be one that `new_token` made; those of streams that the server reads itself are no such."""
    return isinstance(text, str) and re.fullmatch(r"[\w-]{32}", text, re.ASCII) is not None


@dataclass(frozen=True)
class Snapshot:
    """A stream right after an answer."""

    frame: int
    """The client's number of the last frame that is in the state."""
    seconds: float
    """When that frame came on screen, on the clock of the stream."""
    state: bytes
    """What `StreamSession.save` writes."""

    def to_bytes(self) -> bytes:
        """The content for a store."""
        return _HEADER.pack(self.frame, self.seconds) + self.state

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """The snapshot of `to_bytes`."""
        frame, seconds = _HEADER.unpack_from(content)
        return cls(frame, seconds, content[_HEADER.size :])


class Snapshots:
    """Keeps snapshots in a store, by a thread of its own, as a store may be slow; a newer one overtakes an older one.

    The store knows the hashes of tokens, so who reads it cannot resume a stream.
    """

    def __init__(self, store: StateStore) -> None:
        self.outlives_process = store.outlives_process
        self.on_outcome: Callable[[bool], object] = lambda is_kept: None
        """Called in another thread after each snapshot: whether the store has taken it."""
        self._store = store
        self._lock = threading.Lock()
        self._waiting: dict[str, tuple[Snapshot | None, Callable[[], object]]] = {}  # None is to be removed
        self._keys: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._is_failing = False
        self._thread = threading.Thread(target=self._run, name="lsn-snapshots", daemon=True)
        self._thread.start()

    def keep(self, token: str, snapshot: Snapshot | None, on_kept: Callable[[], object] = lambda: None) -> None:
        """Has a snapshot kept; None forgets it.

        Args:
            token: of the client.
            snapshot: takes the place of the one before.
            on_kept: called in another thread once the store has it.
        """
        key = _key(token)
        with self._lock:
            is_new = key not in self._waiting
            self._waiting[key] = snapshot, on_kept
        if is_new:
            self._keys.put(key)

    def of(self, token: str) -> Snapshot | None:
        """The last snapshot that was kept; None if there is none.

        Raises:
            StateStoreError: the store does not answer.
        """
        key = _key(token)
        with self._lock:
            if key in self._waiting:
                return self._waiting[key][0]
        content = self._store.get(key)
        return None if content is None or len(content) < _HEADER.size else Snapshot.from_bytes(content)

    def close(self, timeout_seconds: float) -> None:
        """Waits until what is under way is kept."""
        self._keys.put(None)
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while (key := self._keys.get()) is not None:
            while self._keep_one(key):  # again, if a newer one has come meanwhile
                continue

    def _keep_one(self, key: str) -> bool:
        """Keeps what waits under a key; returns whether more does."""
        with self._lock:
            snapshot, on_kept = self._waiting[key]
        try:
            if snapshot is None:
                self._store.remove(key)
            else:
                self._store.put(key, snapshot.to_bytes())
        except StateStoreError as error:
            self.on_outcome(False)
            if not self._is_failing:
                logger.error("the state store fails, streams cannot be resumed: %s", error)
            self._is_failing = True
        else:
            self._is_failing = False
            if snapshot is not None:
                self.on_outcome(True)
            on_kept()
        with self._lock:
            is_newest = self._waiting[key][0] is snapshot
            if is_newest:
                del self._waiting[key]
        return not is_newest


def _key(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()
