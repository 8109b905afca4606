"""
A fleet of two clinics, on the servers of one.
"""

from support.clinic import Clinic


def fleet_of_two(clinic: Clinic) -> None:
    names = [name for name in clinic.environment if name.startswith("TEST_")]
    for one in ("north", "south"):
        clinic.create(f"CREATE DATABASE {one};\nCREATE TABLE {one}.t (Num int PRIMARY KEY)")
        clinic.create(f"GRANT SELECT ON {one}.* TO '{clinic.sandbox.source.user}'@'127.0.0.1'")
        its = {name.replace("TEST_", f"TEST_{one.upper()}_"): clinic.environment[name] for name in names}
        its[f"TEST_{one.upper()}_OPENDENTAL_SOURCE_DB"] = one
        clinic.environment |= its
        clinic.undo += [
            lambda one=one: clinic.create(f"DROP DATABASE {one}"),  # type: ignore[misc]
            lambda one=one: clinic.create(f"DROP DATABASE IF EXISTS replica_{one}", "replica"),  # type: ignore[misc]
            lambda one=one: clinic.warehouse_execute(f"DROP SCHEMA IF EXISTS raw_{one} CASCADE"),  # type: ignore[misc]
        ]
    clinic.create(f"GRANT ALL ON `replica\\_%`.* TO '{clinic.sandbox.replica.user}'@'127.0.0.1'", "replica")
    (clinic.directory / "conf" / "fleet.yml").write_text(
        "clinics: {north: {prefix: NORTH_}, south: {prefix: SOUTH_}}\n"
    )
