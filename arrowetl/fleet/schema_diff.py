"""
The schemas of many clinics side by side: in what they differ.

Pure; `fleet_run` asks what each has.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

Schemas = Mapping[str, Mapping[str, Mapping[str, str]]]
"""Clinic → table → column → type."""


def differing(schemas: Schemas) -> list[dict[str, Any]]:
    """
    Tables and columns that are not the same everywhere: of each, type → the clinics that have it so; under "" those
    that lack it.

    >>> schemas = {"north": {"t": {"a": "int", "b": "int"}}, "south": {"t": {"a": "text"}, "u": {"x": "int"}}}
    >>> for one in differing(schemas): print(one["table"], one["column"], one["clinics"])
    t a {'int': ['north'], 'text': ['south']}
    t b {'int': ['north'], '': ['south']}
    u None {'table': ['south'], '': ['north']}
    """
    found = []
    for table in sorted({name for tables in schemas.values() for name in tables}):
        having = [clinic for clinic, tables in schemas.items() if table in tables]
        lacking = [clinic for clinic in schemas if clinic not in having]
        if lacking:
            found.append({"table": table, "column": None, "clinics": {"table": having, "": lacking}})
        for column in dict.fromkeys(name for clinic in having for name in schemas[clinic][table]):
            by_type: dict[str, list[str]] = defaultdict(list)
            for clinic in having:
                by_type[schemas[clinic][table].get(column, "")].append(clinic)
            if len(by_type) > 1:
                found.append({"table": table, "column": column, "clinics": dict(by_type)})
    return found
