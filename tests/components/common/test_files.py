from pathlib import Path

import pytest

from llm_flywheel.components.common.files import write_json


def test_a_file_is_made_with_its_folder_and_nothing_beside_it(tmp_path: Path) -> None:
    write_json(tmp_path / "sub" / "a.json", {"name": "원본"})
    assert (tmp_path / "sub" / "a.json").read_text() == '{\n "name": "원본"\n}\n'
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["a.json"]


def test_a_value_json_does_not_know_leaves_the_older_file_alone(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"path": tmp_path})
    assert (tmp_path / "a.json").read_text() == "1\n"
    write_json(tmp_path / "a.json", tmp_path, default=str)
    assert (tmp_path / "a.json").read_text() == f'"{tmp_path}"\n'
