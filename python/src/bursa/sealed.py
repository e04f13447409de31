"""Sealed calls: functions and arguments that only their endpoint reads, results that only the client reads.

The service stores and routes them and reads none. The form of a sealed payload is in docs/protocol.md §1,
what it protects from in docs/security.md. Needs the package `cryptography` (`pip install 'bursa[sealed]'`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Callable

import msgpack

from .config import directory_of
from .errors import Invalid, SerializationError
from .ids import to_text
from .outcome import Failed, Outcome
from .serialize import SEALED
from .z85 import decoded, encoded

_KEY, _SALT = 32, 16
_HEAD = len(SEALED) + _KEY + _SALT
_NONCE = bytes(12)  # each payload has a key of its own


class Seals:
    """What one home seals and opens: with its own key, and the keys of endpoints that it knows."""

    def __init__(self, home: str | os.PathLike[str] | None, look: Callable[[str], dict[str, Any]]) -> None:
        """`look` asks the service about an endpoint: its key is believed the first time, and kept."""
        try:
            from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
        except ImportError:
            raise Invalid(
                "Sealed calls need the package cryptography, which is not installed; "
                "run: pip install 'bursa[sealed]'"
            ) from None
        self._public = X25519PublicKey.from_public_bytes
        self._home = directory_of(home)
        self._secret = X25519PrivateKey.from_private_bytes(_own_key(self._home / "sealed.key"))
        self._own = self._secret.public_key().public_bytes_raw()
        self._known = _Known(self._home / "known_endpoints")
        self._look = look
        self._agreed: dict[bytes, bytes] = {}
        self._checked: dict[bytes, bytes] = {}

    def function(self, body: bytes, endpoint: bytes) -> bytes:
        """A function's body for this endpoint."""
        return self._seal(body, b"f" + endpoint, self._key_of(endpoint))

    def arguments(self, payload: bytes, task: bytes, endpoint: bytes) -> bytes:
        """The arguments of this task on this endpoint."""
        return self._seal(payload, b"a" + task, self._key_of(endpoint))

    def opened(self, outcome: Outcome, task: bytes) -> Outcome:
        """How the task ended, as it would be unsealed; what is not sealed stays as it is."""
        payload = outcome if isinstance(outcome, bytes) else outcome[0] if isinstance(outcome, tuple) else b""
        if not payload.startswith(SEALED):
            return outcome
        try:
            told = self._open(payload, b"r" + task)
        except _Foreign as why:
            return SerializationError(f"The result of task {to_text(task)} cannot be opened: {why}.")
        return told["payload"] if isinstance(outcome, bytes) else _failed(outcome, told)

    def _seal(self, plain: bytes, words: bytes, to: bytes) -> bytes:
        salt = os.urandom(_SALT)
        sealed = self._cipher(to, salt, words).encrypt(_NONCE, plain, words)
        return b"".join((SEALED, self._own, salt, sealed))

    def _open(self, payload: bytes, words: bytes) -> dict[str, Any]:
        from cryptography.exceptions import InvalidTag

        sender, salt = payload[len(SEALED) : len(SEALED) + _KEY], payload[len(SEALED) + _KEY : _HEAD]
        if not self._known.has(sender):
            raise _Foreign("it was sealed by an endpoint that is not in " + str(self._known.path))
        try:
            plain = self._cipher(sender, salt, words).decrypt(_NONCE, payload[_HEAD:], words)
        except (InvalidTag, ValueError):
            raise _Foreign(
                f"it is for another key than {self._home / 'sealed.key'}, or was changed"
            ) from None
        return msgpack.unpackb(plain)

    def _cipher(self, other: bytes, salt: bytes, words: bytes) -> Any:
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        agreed = self._agreed.get(other)
        if agreed is None:
            agreed = self._agreed[other] = self._secret.exchange(self._public(other))
        info = b"".join((b"bursa sealed 1", words[:1], self._own, other))
        return ChaCha20Poly1305(HKDF(SHA256(), 32, salt, info).derive(agreed))

    def _key_of(self, endpoint: bytes) -> bytes:
        """Its key, which is compared once with what the service says of it."""
        key = self._checked.get(endpoint)
        if key is not None:
            return key
        name = to_text(endpoint)
        told = self._look(name).get("public_key")
        if told is None:
            raise Invalid(
                f"Endpoint {name} has no key, so nothing can be sealed to it: the key is revoked, or it is "
                "an endpoint of Globus Compute; ask its owner."
            )
        key = self._known.learn(endpoint, told)
        if encoded(key) != told:
            raise Invalid(
                f"The key of endpoint {name} is {told} by the service's word, and {encoded(key)} in "
                f"{self._known.path}; ask the endpoint's owner, and remove that line if he has changed it."
            )
        self._checked[endpoint] = key
        return key


class _Foreign(Exception):
    pass


class _Known:
    """The keys of endpoints, `<home>/known_endpoints`: a line `id key` for each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._keys: dict[str, bytes] = {}
        self._read()

    def key(self, endpoint: bytes) -> bytes | None:
        return self._keys.get(to_text(endpoint))

    def has(self, key: bytes) -> bool:
        return key in self._keys.values()

    def learn(self, endpoint: bytes, told: str) -> bytes:
        """Keeps the key that the service told of, unless another process has kept one meanwhile."""
        self._read()
        known = self.key(endpoint)
        if known is None:
            known = self._keys[to_text(endpoint)] = decoded(told)
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(self.path, "a", encoding="ascii") as file:
                file.write(f"{to_text(endpoint)} {encoded(known)}\n")
        return known

    def _read(self) -> None:
        try:
            lines = self.path.read_text("ascii").splitlines()
        except FileNotFoundError:
            return
        for number, line in enumerate(lines, 1):
            words = line.split()
            if len(words) == 2 and not line.startswith("#"):
                try:
                    self._keys.setdefault(words[0], decoded(words[1]))
                except ValueError as error:
                    raise Invalid(f"{self.path}:{number}: {error}; mend or remove the line.") from None


def _failed(outcome: Failed, told: dict[str, Any]) -> Failed:
    _, failure, _ = outcome
    said = {name: told[name] for name in ("class", "message", "traceback") if told[name]}
    return told["payload"], {**failure, **said}, told["output"]


def _own_key(path: Path) -> bytes:
    """The home's own key, made when it is first needed."""
    for _ in range(2):
        try:
            text = path.read_text("ascii").strip()
        except FileNotFoundError:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
            with open(os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
                file.write(encoded(os.urandom(_KEY)) + "\n")
            try:
                os.link(fresh, path)  # who comes second takes the first one's
            except FileExistsError:
                pass
            finally:
                os.unlink(fresh)
            continue
        try:
            return decoded(text)
        except ValueError as error:
            raise Invalid(
                f"{path} has no key ({error}); bring it back, or remove it to get a new one."
            ) from None
    raise Invalid(f"{path} cannot be made; look at the permissions of {path.parent}.")
