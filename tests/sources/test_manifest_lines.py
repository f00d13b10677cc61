"""Manifests of lines: jsonl, csv and txt, each trouble with its line."""

import json
from pathlib import Path

import pytest

from migrator.sources import lines as lines_module
from tests.sources.scanning import in_manifest

URL = "https://h.example/"


@pytest.mark.faults
def test_row_33_a_bad_jsonl_line_is_a_problem_and_the_others_go_on(tmp_path: Path) -> None:
    lines = [
        json.dumps({"image_url": URL + "a"}),
        "",
        f'{{"image_url": "{URL}cut"}}, oops',
        '{"image_url": null, "thumb_url": "https://h.example/b"}',
        '{"image_url": "https://h.example/' + "x" * 3 + "\xff",
        "[" * 5_000 + json.dumps({"thumb_url": URL + "c"}) + "]" * 5_000,
        json.dumps([{"image_url": [URL + "d", ""]}]),
    ]
    scanned = in_manifest(tmp_path, "\r\n".join(lines).encode("latin-1"), name="lots.jsonl")
    assert scanned.keys == ["a", "b", "c", "d"]
    assert list(scanned.told) == [
        "lots.jsonl:line 3: column 39",
        "lots.jsonl:line 4: $.image_url",
        "lots.jsonl:line 5: column 37",
        "lots.jsonl:line 7: $[0].image_url[1]",
    ]


def test_csv_columns_give_locations_and_template_values(tmp_path: Path) -> None:
    rows = ['lot,image_url,"thumb_url",note', f'1,{URL}a,{URL}b,"two\nlines, one"', f'2,{URL}c,/d,""']
    text = "\r\n".join(rows)
    scanned = in_manifest(tmp_path, text, name="lots.csv", key="{lot}/{name}", base_url=URL)
    assert scanned.keys == ["1/a", "1/b", "2/c", "2/d"]
    assert not scanned.problems


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_csv_of_every_dialect_and_encoding(tmp_path: Path, delimiter: str, encoding: str) -> None:
    rows = [["id", " image_url ", "né"], ["1", URL + "a,b;c", "x"], [], ["2", URL + "é", "y"]]
    text = "\n".join(delimiter.join(f'"{cell}"' for cell in row) for row in rows)
    scanned = in_manifest(tmp_path, text.encode(encoding), name="lots.csv", key="{né}/{path}")
    assert scanned.keys == ["x/a,b;c", "y/é"]
    assert not scanned.problems


@pytest.mark.faults
def test_row_33_a_bad_csv_row_is_a_problem_with_its_line(tmp_path: Path) -> None:
    text = f"""id,image_url
1,{URL}a
2
3,{URL}b,extra
4,"{URL}c"x
5,
"6
six",{URL}d
7,ftp://h.example/e
8,{URL}\xff
9,{URL}f
10,"{URL}open
"""
    scanned = in_manifest(tmp_path, text.encode("latin-1"), name="lots.csv", key="{id}")
    assert scanned.keys == ["1", "6\nsix", "9"]
    assert list(scanned.told) == [
        f"lots.csv:line {place}"
        for place in ("3", "4", "5", "6, column image_url", "9, column image_url", "10, column image_url", "12")
    ]
    assert scanned.told["lots.csv:line 3"] == "this row has 1 cells where the header names 2"


def test_a_csv_without_its_columns_is_a_problem_that_names_them(tmp_path: Path) -> None:
    scanned = in_manifest(tmp_path, "id,url\n1,x\n", name="lots.csv")
    assert scanned.told == {"lots.csv:line 1": "no column is named image_url or thumb_url; there are: id, url"}
    assert "empty" in in_manifest(tmp_path, "", name="lots.csv").told["lots.csv:line 1"]


def test_a_csv_column_that_stands_twice_is_a_problem_and_nothing_is_lost(tmp_path: Path) -> None:
    scanned = in_manifest(tmp_path, f"image_url,image_url\n{URL}a,{URL}b\n", name="lots.csv")
    assert scanned.keys == ["a", "b"]
    assert "twice" in scanned.told["lots.csv:line 1"]


def test_txt_is_one_location_a_line(tmp_path: Path) -> None:
    text = f"# header\n\n{URL}a\n  {URL}b  \r\n#{URL}no\nnonsense\n{URL}c"
    scanned = in_manifest(tmp_path, text, name="urls.txt")
    assert scanned.keys == ["a", "b", "c"]
    assert list(scanned.told) == ["urls.txt:line 6"]


@pytest.mark.parametrize(("name", "key"), [("lots.jsonl", "{path}"), ("lots.csv", "{path}"), ("urls.txt", "{path}")])
def test_a_line_without_end_is_not_held_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, key: str
) -> None:
    monkeypatch.setattr(lines_module, "LONGEST_LINE", 1_000)
    line = {
        "lots.jsonl": [json.dumps({"image_url": URL + "a"}), '"' + "x" * 5_000, json.dumps({"image_url": URL + "b"})],
        "lots.csv": ["image_url", URL + "a", "x" * 5_000, URL + "b"],
        "urls.txt": [URL + "a", "x" * 5_000, URL + "b"],
    }[name]
    scanned = in_manifest(tmp_path, "\n".join(line) + "\n", name=name, key=key)
    assert scanned.keys == ["a", "b"]
    [(position, message)] = scanned.told.items()
    assert position == f"{name}:line {line.index(next(text for text in line if 'xxx' in text)) + 1}"
    assert "too long" in message


def test_utf_16_that_breaks_off_is_a_problem(tmp_path: Path) -> None:
    body = f"{URL}a\n{URL}b\n".encode("utf-16") + b"\x00\xd8"
    assert "not valid UTF-16" in "".join(in_manifest(tmp_path, body, name="urls.txt").told.values())
