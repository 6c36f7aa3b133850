"""API keys: who may ask the API, and for what.

A key is drawn, shown once, and known to the platform by its sha256 only, in the setting `api_keys`. A plain, fast hash is
right here: a key holds 256 random bits, so nobody finds it by trying, as they would find a password; a slow hash would
only make every request slow.
"""

import hashlib
import hmac
import re
import secrets
from typing import Literal, get_args

from msgspec import Struct

from stores.settings import BadSetting, Settings

Scope = Literal["read", "operator"]
"""`read` asks for recommendations and reports events; `operator` may do everything."""

VARIABLE = "CAMPAIGNS_API_KEYS"
PREFIX = "cp_"  # for whoever looks for leaked secrets
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
SHA256 = re.compile(r"[0-9a-f]{64}\Z")


class Caller(Struct, frozen=True):
    """Who asks: the name of their key, never the key, and what it may do."""

    name: str
    scope: Scope

    @property
    def operates(self) -> bool:
        """Whether they may do what only operators may."""
        return self.scope == "operator"


NOBODY = Caller("", "read")
"""Whoever asks for what is public, without a key."""
ANYBODY = Caller("loopback", "operator")
"""Whoever asks where no key is set: only on this machine, which `serve` sees to."""


class Keys:
    """The keys that are valid."""

    def __init__(self, settings: Settings) -> None:
        """Reads them from the settings.

        Raises:
            BadSetting: one is malformed, or a name stands twice. Its text is not repeated: it might be a key by mistake.
        """
        self._by_hash = [read_entry(entry) for entry in settings.api_keys]
        names = [caller.name for _, caller in self._by_hash]
        if len(set(names)) < len(names):
            raise BadSetting(f"{VARIABLE}: two keys have the same name")

    @property
    def are_needed(self) -> bool:
        """Whether a key is asked for at all."""
        return bool(self._by_hash)

    def caller(self, key: bytes) -> Caller | None:
        """Whose key this is, or None. Compares with every key, in a time that tells nothing of any of them."""
        shown, found = hashlib.sha256(key).digest(), None
        for known, caller in self._by_hash:
            if hmac.compare_digest(known, shown):
                found = caller
        return found


def read_entry(entry: str) -> tuple[bytes, Caller]:
    """The hash and the caller of one entry of the setting, `name:scope:sha256`."""
    match entry.split(":"):
        case [name, "read" | "operator" as scope, sha256] if NAME.match(name) and SHA256.match(sha256):
            return bytes.fromhex(sha256), Caller(name, scope)
    raise BadSetting(
        f"{VARIABLE}: each key is name:scope:sha256, with one of the scopes {', '.join(get_args(Scope))}, as `campaigns key` prints it"
    )


def drawn() -> str:
    """A new key: 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def entry_of(key: str, *, name: str, scope: Scope) -> str:
    """What the setting holds of a key.

    Raises:
        ValueError: the name has other characters than letters, digits and `_ . -`.
    """
    if not NAME.match(name):
        raise ValueError(f"{name!r} is no name of a key: letters, digits and _ . - only, 64 at most")
    return f"{name}:{scope}:{hashlib.sha256(key.encode()).hexdigest()}"
