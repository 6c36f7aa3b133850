"""An answer of the API, before it goes out."""

from hashlib import blake2b
from typing import Literal

from msgspec import Struct

CacheStatus = Literal["hit", "miss", "stale", "bypass"]


class Answer(Struct, frozen=True, kw_only=True):
    """A body ready to be sent, the release that it was made from, how the cache took part, and which stores it had to do without."""

    body: bytes
    release: int
    cache: CacheStatus
    missing: tuple[str, ...] = ()

    @property
    def tag(self) -> bytes:
        """A weak ETag: of the release and of what is said, wherever it was retrieved from."""
        said = self.body[: self.body.rindex(b'"retrieval_source"')]
        return b'W/"%d-%b"' % (self.release, blake2b(said, digest_size=12).hexdigest().encode())
