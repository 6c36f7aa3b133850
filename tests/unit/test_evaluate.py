"""`campaigns evaluate` on a folder of its own: no engine, no model, no network."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from cli.main import main
from stores.cases import BadCase, read_cases
from stores.records import iso
from stores.vector_file import VectorFile
from tests.unit.test_ranking_model import shop


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    archive, folder = shop(130), tmp_path / "export"
    folder.mkdir()
    fields = ("message_id", "user_id", "event", "message", "campaign_id")
    rows = [{"timestamp": iso(r.timestamp_ms)} | {name: getattr(r, name) for name in fields} for r in archive.records]
    (folder / "records.jsonl").write_text("\n".join(map(json.dumps, rows)))
    campaigns = [{"campaign_id": c.campaign_id, "name": c.name, "repeatable": True} for c in archive.campaigns.values()]
    (folder / "campaigns.json").write_text(json.dumps(campaigns))
    return folder


def evaluated(*arguments: str) -> dict:
    result = CliRunner().invoke(main, ["evaluate", *arguments, "--no-embeddings", "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_folder_without_cases_is_cut_by_time(folder: Path) -> None:
    found = evaluated(str(folder))
    assert found["cases"] == 39
    assert {"ndcg@5", "ndcg@10", "recall@5", "recall@10", "mrr", "coverage@10", "diversity@10"} == set(found["methods"]["served"])
    mean, low, high = found["differences"]["served-popularity"]["ndcg@10"]
    assert low <= mean <= high


def test_a_folder_of_links_to_files_is_judged_like_one_of_files(folder: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    for file in folder.iterdir():
        (linked / file.name).symlink_to(file)
    assert evaluated(str(linked)) == evaluated(str(folder))


def test_a_folders_own_cases_are_judged_where_there_are_any(folder: Path) -> None:
    case = {
        "case_id": "x",
        "user_id": "u1",
        "at": "1970-04-20T00:00:00Z",
        "candidates": ["c_tea0", "c_ink0", "c_ink1"],
        "truth": ["c_ink0"],
    }
    with gzip.open(folder / "cases.jsonl.gz", "wt") as file:
        file.write(json.dumps(case) + "\n")
    found = evaluated(str(folder))
    assert (found["cases"], found["candidates"]) == (1, 3.0)
    assert evaluated(str(folder), "--since", "1970-04-01")["cases"] == 1
    nothing = CliRunner().invoke(main, ["evaluate", str(folder), "--no-embeddings", "--since", "1971-01-01"])
    assert nothing.exit_code == 1
    assert "there is no case to judge" in nothing.output


def test_a_case_that_cannot_be_read_is_told_by_its_line(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "given.jsonl"
    path.write_text('\n{"user_id": "u", "at": "yesterday", "candidates": [], "truth": []}\n')
    with pytest.raises(BadCase, match=r"given\.jsonl:2"):
        list(read_cases(path))
    result = CliRunner().invoke(main, ["evaluate", str(folder), "--cases", str(path), "--no-embeddings"])
    assert result.exit_code == 1
    assert "given.jsonl:2" in result.output


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["evaluate", str(tmp_path), "--no-embeddings"])
    assert result.exit_code == 1
    assert "0 records and 0 campaigns" in result.output


def test_vectors_are_kept_as_they_were(tmp_path: Path) -> None:
    vectors = {f"k{n}": np.random.default_rng(n).normal(size=8).astype(np.float32) for n in range(1200)}
    file = VectorFile(tmp_path / "deep" / "vectors.sqlite")
    file.put(vectors)
    file.put({"k1": np.zeros(8, np.float32)})  # a key's vector never changes
    file.close()
    again = VectorFile(tmp_path / "deep" / "vectors.sqlite")
    found = again.get([*vectors, "unknown"])
    again.close()
    assert found.keys() == vectors.keys()
    assert all(np.array_equal(found[key], vector) for key, vector in vectors.items())
