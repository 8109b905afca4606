"""
Why a table is loaded as it is, for programs: a code, and what each means.

Values alone. `sync_mode` chooses one with the kind of load, next to the reason in words.
"""

from __future__ import annotations

CODES = {
    "first_load": "neither target has the table, or the one that is missing it",
    "forced": "--force-full",
    "found_to_differ": "a verification found that it differs",
    "origin_unknown": "the target's rows are of unknown origin, or of a run that was killed",
    "replica_altered": "somebody altered the replica's table",
    "masks_changed": "other columns are masked, or differently",
    "columns_changed": "its columns or its key changed",
    "unique_keys_changed": "its unique keys changed at the source",
    "another_source": "it was read from another server or database the last time",
    "replica_not_transactional": "the replica's table cannot be changed in place",
    "replica_changed_by_others": "somebody changed the replica's table",
    "unchanged_update_time": "unchanged, by UPDATE_TIME",
    "unchanged_checksum": "unchanged, by a checksum of all rows",
    "unchanged_nothing": "unchanged: it is as empty as it was",
    "current": "the warehouse has what the replica has",
    "behind": "the warehouse has another version than the replica",
    "warehouse_changed": "somebody changed the warehouse's table",
    "geometry": "it has geometry columns, and is read in full",
    "timestamps": "rows at or after the watermark, and the rest by checksums",
    "overdue": "its last success is too long ago, or its time is not known",
    "comparison_due": "the full comparison is due",
    "full_table": "tables.yml says full_table",
    "no_watermark": "no column shows its changes, or none was recorded",
    "no_integer_key": "its primary key is not one integer, or is left out",
    "unstamped_changes": "it changes without its timestamps, or may be another table",
    "mostly_changed": "a third of its rows or more changed",
    "masked": "some columns are in no checksum, and without a replica all rows are read",
    "changed": "it changed, and without a replica all rows are read",
    "timestamps_went_back": "its timestamps went back: it was restored",
    "differs_without_key": "its rows differ, and no key identifies them",
    "replica_recreated": "the replica could not follow row by row",
}
"""Code → what it means."""

Why = tuple[str, str]
"""A code, and the reason in words."""
