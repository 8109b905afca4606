"""
What is recorded in a person's arrowetl.yml, and that nothing else in it changes.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from arrowetl.config import arrowetl_yml_edit
from arrowetl.errors import ConfigurationError

FILE = """\
# the clinic's own
tables:
  patient:   # mind the spaces
    batch_size: 10
  'On':
    columns:
      SSN: {exclude: true}   # never
"""


@pytest.mark.parametrize(
    ("types", "comment"),
    [
        ({"patient": {"HasIns": "boolean"}}, "# mind the spaces"),
        ({"On": {"SSN": "varchar(9)", "Off": "boolean"}}, "# never"),
        ({"off": {"12:30": "time", "null": "boolean", "a: b": "boolean", "'": "boolean", "yes": "boolean"}}, "# never"),
        ({"größe": {"#": "boolean", "1": "boolean", "{c}": "boolean", "": "boolean"}}, "# the clinic's own"),
    ],
)
def test_recorded_types_keep_everything_else(tmp_path: Path, types: dict[str, dict[str, str]], comment: str) -> None:
    """Next to what is there, whatever the names are in YAML; comments stay."""
    path = tmp_path / "arrowetl.yml"
    path.write_text(FILE)
    arrowetl_yml_edit.record_types(path, types)
    text = path.read_text()
    wanted = yaml.safe_load(FILE)
    for table, columns in types.items():
        place = wanted["tables"].setdefault(table, {}).setdefault("columns", {})
        for column, type_ in columns.items():
            place.setdefault(column, {})["type"] = type_

    assert yaml.safe_load(text) == wanted
    assert comment in text


def test_shared_anchors_are_not_edited(tmp_path: Path) -> None:
    """An anchor stands for several tables: the file stays as it is, and what was meant is reported."""
    path = tmp_path / "arrowetl.yml"
    text = "tables:\n  a: &o {exclude: false}\n  b: *o\n"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as refusal:
        arrowetl_yml_edit.record_types(path, {"a": {"x": "boolean"}})

    assert path.read_text() == text
    assert "a: {'x': 'boolean'}" in str(refusal.value.remedy)


def test_a_file_that_is_not_there_is_made(tmp_path: Path) -> None:
    """With the line by which an editor checks it; and filled once more where it has comments alone."""
    path = tmp_path / "arrowetl.yml"
    arrowetl_yml_edit.record_types(path, {"patient": {"HasIns": "boolean"}})
    first = path.read_text()
    path.write_text("# mine\n")
    arrowetl_yml_edit.record_types(path, {"patient": {"HasIns": "boolean"}})

    assert first.startswith("# yaml-language-server: $schema=schemas/arrowetl.json\n")
    assert yaml.safe_load(first) == {"tables": {"patient": {"columns": {"HasIns": {"type": "boolean"}}}}}
    assert path.read_text().startswith("# mine\n")
    assert yaml.safe_load(path.read_text()) == yaml.safe_load(first)


MOVED = """\
settings:
  reconcile_days: 1  # daily
tables:
  patient:
    workers: 2
    columns:
      SSN: {exclude: true}  # the law
"""


@pytest.mark.parametrize(
    ("before", "both", "said"),
    [
        ("", [], ["# yaml-language-server", "# the law"]),
        ("# mine\n", [], ["# mine", "# the law"]),
        ("tables:\n  other: {workers: 3}  # of mine\n", [], ["# of mine", "# the law", "# daily"]),
        ("settings: {reconcile_days: 7}\ntables:\n  patient: {workers: 3}\n",
         ["settings.reconcile_days", "tables.patient.workers"], ["# the law"]),
    ],
)  # fmt: skip
def test_moved_choices_are_put_next_to_those_that_are_there(before: str, both: list[str], said: list[str]) -> None:
    """With their comments; where both say something, what is there holds, and is named."""
    text, named = arrowetl_yml_edit.with_moved(before, MOVED)
    document = yaml.safe_load(text)

    assert named == both
    assert document["tables"]["patient"]["columns"] == {"SSN": {"exclude": True}}
    assert document["tables"]["patient"]["workers"] == (3 if both else 2)
    assert [one for one in said if one not in text] == []
