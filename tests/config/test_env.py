"""
Settings and tables.yml: who wins, what is refused, all problems at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from arrowetl import errors
from arrowetl.config import env
from arrowetl.config.keys import check_tables
from arrowetl.config.tables_yml import read_tables
from arrowetl.errors import ConfigurationError, EnvironmentError

KEYS = [
    f"{server}_{key}"
    for server in ("OPENDENTAL_SOURCE", "MYSQL_REPLICATION", "POSTGRES_ANALYTICS")
    for key in ("HOST", "PORT", "DB", "USER", "PASSWORD")
]
COMPLETE = {key: "3306" if key.endswith("PORT") else key.lower() for key in KEYS}


def settings(environment: dict[str, str], directory: Path, file: str | None = None, **more: Any) -> env.Settings:
    if file is not None:
        name = f".env_{environment['ETL_ENVIRONMENT']}"
        (directory / name).write_text(file)
    return env.settings_from_environment(environment, directory / "tables.yml", **more)


@pytest.mark.parametrize(
    ("environment", "file", "host"),
    [
        ({"ETL_ENVIRONMENT": "production"}, "outside", None),
        ({"ETL_ENVIRONMENT": "production", "OPENDENTAL_SOURCE_HOST": "outside"}, "inside", "outside"),
        ({"ETL_ENVIRONMENT": "production", "OPENDENTAL_SOURCE_HOST": "  "}, "inside", "inside"),
        ({"ETL_ENVIRONMENT": "test", "OPENDENTAL_SOURCE_HOST": "production"}, "inside", "inside"),
        ({"ETL_ENVIRONMENT": "test", "TEST_OPENDENTAL_SOURCE_HOST": "outside"}, "inside", "outside"),
        ({"ETL_ENVIRONMENT": "production", "TEST_OPENDENTAL_SOURCE_HOST": "test"}, "inside", "inside"),
    ],
)
def test_the_environment_wins_over_the_env_file(
    tmp_path: Path, environment: dict[str, str], file: str, host: str | None
) -> None:
    """The operating system before the file; blank is unset; in test, only what says TEST_ counts."""
    values = {**COMPLETE, "OPENDENTAL_SOURCE_HOST": file}
    text = "".join(f"{key}='{value}'\n" for key, value in values.items())

    assert settings(environment, tmp_path, text).endpoint("source").host == (host or file)


def test_the_test_env_file_takes_both_forms_of_a_name(tmp_path: Path) -> None:
    """`TEST_` names in `.env_test`, too."""
    text = "".join(f"TEST_{key}={value}\n" for key, value in COMPLETE.items())

    assert settings({"ETL_ENVIRONMENT": "test"}, tmp_path, text).endpoint("replica").user == "mysql_replication_user"


@given(st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=1, max_size=30).filter(str.strip))
def test_passwords_may_hold_any_character(password: str) -> None:
    """But blanks alone, which are no value; and is in no repr."""
    found = env.settings_from_environment(
        {"ETL_ENVIRONMENT": "production", **COMPLETE, "OPENDENTAL_SOURCE_PASSWORD": password},
        Path("/tables.yml"),
    )

    assert found.endpoint("source").password == password
    assert "password" not in repr(found.endpoint("source")).replace("source_password", "")


@pytest.mark.parametrize("line", ["p@ss:w/rd#1?&%", "'p@ss:w/rd#1?&%'", '"p@ss:w/rd#1?&%"'])
def test_passwords_in_the_file_may_be_quoted(tmp_path: Path, line: str) -> None:
    """Quoted or bare."""
    text = "".join(f"{k}={line if k.endswith('PASSWORD') else v}\n" for k, v in COMPLETE.items())

    assert (
        settings({"ETL_ENVIRONMENT": "production"}, tmp_path, text).endpoint("warehouse").password == "p@ss:w/rd#1?&%"
    )


def test_all_missing_variables_are_in_one_error(tmp_path: Path) -> None:
    """Twelve of them, in one error; ports have defaults, and only the servers that are needed count."""
    all_three = ("source", "replica", "warehouse")
    with pytest.raises(EnvironmentError) as refusal:
        settings({"ETL_ENVIRONMENT": "production"}, tmp_path, needs=all_three)
    with pytest.raises(EnvironmentError) as fewer:
        settings({"ETL_ENVIRONMENT": "production"}, tmp_path, needs=("warehouse",))

    wanted = [key for key in KEYS if not key.endswith("_PORT")]
    assert [key for key in wanted if f"{key} is missing" not in refusal.value.message] == []
    assert "12 problems" in refusal.value.message
    assert "4 problems" in fewer.value.message
    assert ".env_production, which does not exist yet" in (fewer.value.remedy or "")


def test_a_replica_need_not_be_configured(tmp_path: Path) -> None:
    """Then the warehouse is what is written; where only a part of it is said, the rest is missing."""
    without = {key: value for key, value in COMPLETE.items() if not key.startswith("MYSQL_REPLICATION")}
    found = settings({"ETL_ENVIRONMENT": "production", **without}, tmp_path)

    assert (found.targets, sorted(found.endpoints)) == ("warehouse", ["source", "warehouse"])
    assert settings({"ETL_ENVIRONMENT": "production", **COMPLETE}, tmp_path).targets == "both"
    with pytest.raises(EnvironmentError, match="MYSQL_REPLICATION_PASSWORD is missing"):
        settings({"ETL_ENVIRONMENT": "production", **without, "MYSQL_REPLICATION_HOST": "there"}, tmp_path)


@pytest.mark.parametrize("port", ["33O6", "0", "65536", "-1", "3306.0", "٣٣٠٦", "²"])
def test_an_invalid_port_is_refused(tmp_path: Path, port: str) -> None:
    """Digits of another script are none either."""
    with pytest.raises(EnvironmentError, match="OPENDENTAL_SOURCE_PORT: must be a number from 1 to 65535"):
        settings({"ETL_ENVIRONMENT": "production", **COMPLETE, "OPENDENTAL_SOURCE_PORT": port}, tmp_path)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"extraction_stratgy": "full_table"}, "unknown key (did you mean extraction_strategy?)"),
        ({"extraction_strategy": "sometimes"}, "must be one of full_table, incremental, incremental_chunked"),
        ({"batch_size": 0}, "must be an integer from 1"),
        ({"batch_size": True}, "must be an integer from 1"),
        ({"estimated_rows": -1}, "must be a number from 0"),
        ({"primary_key": 7}, "must be a name, a list of names, or null"),
        ({"overrides": []}, "must be a mapping"),
        ({"overrides": {"exclude": "yes"}}, "must be true or false"),
        ({"overrides": {"columns": {"SSN": {"mask": "hush"}}}}, "must be one of hash, nullify, partial"),
        ({"overrides": {"columns": {"SSN": {"masked": "hash"}}}}, "unknown key (did you mean mask?)"),
        ({"overrides": {"columns": {"SSN": 5}}}, "must be a type, or a mapping such as {type: boolean}, got 5"),
        ({"monitoring": {"alert": True}}, "unknown key"),
        ({"monitoring": []}, "must be a mapping"),
    ],
)
def test_an_invalid_tables_yml_value_is_refused_with_its_place(entry: dict[str, Any], problem: str) -> None:
    """The place, what is allowed, what was found."""
    (found,) = check_tables({"tables": {"patient": entry}})

    assert found.startswith("tables.patient")
    assert problem in found


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.sampled_from(
        ["tables", "overrides", "columns", "metadata", "batch_size", "monitoring", "primary_key"]) | st.integers(),
        inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@given(VALUES)
def test_any_yaml_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, document: Any) -> None:
    """Never a traceback."""
    path = tmp_path_factory.mktemp("yaml") / "tables.yml"
    path.write_text(yaml.safe_dump(document))
    try:
        read = read_tables(path)
    except ConfigurationError:
        return

    assert all(isinstance(name, str) for name in read.tables)


def test_at_most_three_nearest_names_are_suggested() -> None:
    """At most three, best first."""
    known = ["payment", "patients", "Patient", "patient_", "procedurelog"]
    assert errors.did_you_mean("pateint", known, most=3) == " (did you mean Patient, patients, patient_?)"
    assert errors.did_you_mean("pateint", known) == " (did you mean Patient?)"
    assert errors.did_you_mean("zzz", known) == ""
