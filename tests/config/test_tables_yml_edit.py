"""
What is recorded in a person's tables.yml, and that nothing else in it changes.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from arrowetl.config import tables_yml_edit
from arrowetl.errors import ConfigurationError

FILE = """\
# the clinic's own
tables:
  patient:   # mind the spaces
    batch_size: 10
    overrides: {exclude: false}
  'On':
    overrides:
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
    path = tmp_path / "tables.yml"
    path.write_text(FILE)
    tables_yml_edit.record_types(path, types)
    text = path.read_text()
    wanted = yaml.safe_load(FILE)
    for table, columns in types.items():
        place = wanted["tables"].setdefault(table, {}).setdefault("overrides", {}).setdefault("columns", {})
        for column, type_ in columns.items():
            place.setdefault(column, {})["type"] = type_

    assert yaml.safe_load(text) == wanted
    assert comment in text


def test_shared_anchors_are_not_edited(tmp_path: Path) -> None:
    """An anchor stands for several tables: the file stays as it is, and what was meant is reported."""
    path = tmp_path / "tables.yml"
    text = "tables:\n  a: {overrides: &o {exclude: false}}\n  b: {overrides: *o}\n"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as refusal:
        tables_yml_edit.record_types(path, {"a": {"x": "boolean"}})

    assert path.read_text() == text
    assert "a: {'x': 'boolean'}" in str(refusal.value.remedy)
