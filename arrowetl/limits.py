"""
Every bound arrowetl sets itself, with its unit in its name and its reason next to it.

No other module holds a bare number that somebody might want to change. What a
person may choose per run or per table (tables.yml, the command line) has its
default here.
"""

from __future__ import annotations

MIB = 1024 * 1024

# One partition's rows, as the source stores them: the first ones of a first run, and what a run finds out of it
# (`pacing`): what the slowest phase moves in so many seconds, within bounds that keep a worker under 400 MB.
# procedurelog, 1 million rows on 2 cores: to both targets 28.5 s by 4 MiB, 30.0 by 8, 31.0 by 16, 31.8 by 2 (a call of
# connectorx and 67 columns' conversions cost 24 ms of a core each time); to the warehouse alone 7.7, 6.9, 6.9 and
# 10.4; memory 350, 380, 430 and 300 MB.
partition_bytes = 6 * MIB
partition_bytes_min = 2 * MIB
partition_bytes_max = 8 * MIB
partition_seconds = 0.5

# Of all partitions in flight together, as the source stores them: two that are scanned. Arrow and what three libraries
# keep for later are some three times as much; text is printed by so many bytes of a partition at a time, so that it is
# never all in memory. 0.3 of a clinic by 8 workers, in turn: 442, 390, 440 and 448 MB by 80 MiB and full texts, 351
# and 377 MB so, in the same time (67.0 and 68.0 s; 66.1 and 70.9).
bytes_in_flight_max = 72 * MIB
infile_bytes = 8 * MIB

# glibc gives each thread an arena of its own, and keeps what was freed there: 2 for all, and what was freed is returned
# where the process has grown past this, and by so much since the last time (`memory`).
malloc_arenas = 2
resident_bytes_calm = 200 * MIB
resident_bytes_grown = 6 * MIB

# The last so many partitions determine the next one's size; after so many rounds of all workers their number is
# reviewed: one more must gain 5%, and is tried only while a quarter of this machine is idle.
pace_partitions = 5
pace_rounds = 2
pace_gain_min = 1.05
pace_idle_min = 0.25
pace_busy_max = 0.05
pace_look_seconds = 0.5

# MyISAM reads a row that it finds by its key with a call of its own, which costs 1.5 seconds of a core per million
# rows; a scan past other rows costs 0.1 (securitylog, 12 columns) to 0.4 (procedurelog, 67). A table of at most so
# many partitions is scanned in full for each of them. (securitylog, 1 million rows: 0.7 seconds of the
# source's core instead of 1.8; procedurelog would need 7 and go from 3.6 to 4.4.)
full_scans_max = 4
scan_bytes_max = 40 * MIB

# `bench`: what is tried, in how long; a trial is no shorter than this, and what is recommended was better by so much
# in the median of so many pairs.
bench_seconds = 60
bench_trial_seconds = 0.5
bench_partition_bytes = (MIB, 2 * MIB, 4 * MIB, 8 * MIB, 16 * MIB)
bench_workers_max = 6
bench_pairs = 3
bench_gain_min = 1.03

# Tables of wider rows than this are partitioned by the lengths of their values, and not by their number. Where some
# rows may be far wider than the average (`partitioning.varies`), the source first adds up what a range holds: no
# range has more than this. 200,000 rows of which 256 have a megabyte each: 1,752 MiB at the peak without, 330 with it.
# Long texts count twice against the bytes in flight (`benchmarks/memory.py`, 100 MB: a table whose long
# texts lie together took 439 MB by 24 MiB and once, 333 by 16 and twice, in 9 and 13 s; 2 GB, 401 by 16, 306 by 12).
wide_row_bytes = 16 * 1024
varying_row_bytes = 1024
range_bytes_max = 12 * MIB
long_copies = 2

# An engine's estimate of its rows is trusted until so many more are counted, and twice as many.
estimate_off_rows = 10_000

# A table without an integer key is read in slices, by a hash of its key or of its rows, so many that none has
# more bytes than this: each slice is a scan of the full table.
slice_bytes_max = 40 * MIB
slices_max = 64

# Caps a partition of narrow rows; past this the bookkeeping per partition no longer shows.
partition_rows_max = 250_000

# The replica builds indexes on one thread, for longer than all else takes: rows of a table that has some wait
# on disk for the warehouse, and are ingested meanwhile. No more of a run's rows than this, nor than an eighth of what
# is free there; the rest is ingested as it is read. (procedurelog, 1 million rows, 21 indexes, 2
# workers: 34 s instead of 40 s.)
deferred_bytes_max = 2 * 1024 * MIB
waiting_share_of_free = 1 / 8

# A batch is encoded completely before it is sent: batches of 8 Ki rows overlap encoding and sending (2.3 s instead
# of 3.2 s per million rows of 38 columns, where ADBC does it).
copy_batch_rows = 8_192

# A table of so few rows is given its indexes before its rows: one statement less, of 10 ms.
indexes_first_rows_max = 1_000

# Partitions of large tables at a time, where more workers are allowed than there are cores: procedurelog, 1 million
# rows to both targets on 2 cores, took 34 s by 2, 37 s by 3 and 45 s by 5; small tables gain from waiting together.
partitions_at_a_time_min = 2

workers_default = 5
workers_max = 64
connections_max = 1_000

# A cluster: a scheduler must answer within so many seconds; a run waits so long for one that has no worker left. A
# job that found a server out of its worker's reach is moved elsewhere, so often, and that worker gets none for a
# while. What a worker keeps of a run (sessions, leases) it gives back after so long without a job of it: sooner
# where others wait for the leases. Those of a worker that died are free again after so long, and Dask's next look,
# ten seconds later at the most. Active jobs together have at most so many bytes.
cluster_seconds = 10
cluster_wait_seconds_max = 60
cluster_tries = 3
cluster_suspect_seconds = 60
lease_seconds = 600
lease_lost_seconds = 10
cluster_poll_seconds = 0.5
cluster_idle_connection_seconds = 60.0
cluster_idle_connection_seconds_wanted = 1.0
cluster_bytes_in_flight_max = 512 * MIB

# Connections that a run's records need at each target: one holds the lock, for the length of the run.
records_connections = 2

# The first connection must answer within this, so that a server that is down is reported within 5 seconds.
connect_seconds = 4

# A statement that is not answered within this is given up: a stalled connection looks like a busy server. The longest
# is the building of a large table's indexes: 21 of procedurelog's take 15 s a million rows. At the source, statements
# have a limit at the server (`statement_seconds`), after which this much more is waited. A library's connection
# is cut only after this much silence, and again each time.
silence_seconds = 3_600
silence_grace_seconds = 15
silence_again_seconds = 5

# connectorx takes half a minute to notice that a server was lost: one silent for this long is asked first.
answered_seconds = 0.2

# What was sent, and not acknowledged within this, is taken for lost.
unacknowledged_seconds = 120

# Who waits for another's lock gives up after this, and is tried again; the switch of a published table far sooner.
lock_seconds = 60

# Before a switch, a run that holds its locks trusts them for this long: the switch proves in its transaction
# that no other run has begun, and hundreds of small tables would ask twice each, 3 ms of a table's 50.
lock_trusted_seconds = 0.2

# Planning does not wait for one of hundreds of tables that is locked: what was to be asked about it
# is not known then, and the wait happens when it is loaded.
question_lock_seconds = 1

# What our sessions ask of their servers: to keep one that is silent for longer than any index takes to build, and to
# wait for us, or for what we take from them, as long as a slow link needs.
idle_session_seconds = 28_800
server_network_seconds = 600

# What may go by itself is tried again: so often, after a second, two, four …, each shorter by a random share, so that
# not all come again at once. Together that is longer than a server takes to start again.
retries = 4
retry_seconds = 1.0
retry_seconds_max = 30.0

# A server whose machine was lost answers nothing, not even that: asked after 30 seconds of silence, given up
# after two minutes. By the names of the socket options.
tcp_keepalive = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 6}

# The same asked by the warehouse of a client that holds locks there: it notices before others wait too long for them.
server_keepalive = {"tcp_keepalives_idle": 20, "tcp_keepalives_interval": 10, "tcp_keepalives_count": 3}

# What happened to so many tables is recorded at once: a run that is killed leaves their records, not their history.
history_rows = 50

# Idle connections older than this are asked whether they still live before they are reused.
idle_seconds_unchecked = 30

# PostgreSQL's NAMEDATALEN less one.
postgres_name_bytes = 63
postgres_columns_max = 1_600

# The longest varchar(n) that PostgreSQL makes.
postgres_characters_max = 10_485_760

# A password of so many characters is searched for in a server's message, though none should be there.
password_characters_cut = 8

# An error message of a server is shown up to here; beyond it is usually the statement again.
server_message_characters = 400

# A replica's table that was written later than this after a run recorded its own change was written by someone else.
own_commit_seconds = 5

# What MyISAM's UPDATE_TIME cannot distinguish: changes within the same second.
update_time_grain_seconds = 1

# Tables of which the replica is asked in one round trip how they are made: 381 in 16 ms, and in 57 one by one.
definitions_at_once = 100

# Tables that a run switches at the replica at once: by one lock for all, eight workers waited 12 ms for each of 381.
switch_locks = 16

# Readers of a published table wait at most this long for the switch; then we give way and fail.
cutover_lock_seconds = 10

# A reader that meets an ALTER in waiting waits with it: no longer than this, after which it is tried again later.
alter_lock_milliseconds = 300
alter_pause_seconds = 0.3

# A table that is read in full is called slow, by its threshold, only where it took this long for so many rows; it is
# said to have grown or shrunk by this factor, where it has, or had, so many rows.
slow_seconds_min = 1.0
slow_rows_min = 1_000
growth_max = 1.5
growth_rows_min = 1_000

# Ten thousand tables with a hundred values each; a few aliases of aliases can expand to more than any machine stores.
yaml_values_max = 1_000_000

# `verify` looks whether so many of the last receipts are as they were written: a fifth of a second.
receipts_checked = 30

# A file of a snapshot has about so many bytes as Arrow, of which zstd leaves a fifth to a tenth.
snapshot_file_bytes = 256 * MIB

# A webhook must answer within this.
webhook_seconds = 10

# `status --watch` looks again so often.
watch_seconds = 5

# Lines of progress where there is no terminal: one every so often.
progress_line_seconds = 10

# Rows a second to both targets, where no history knows better; `small` of the synthetic clinic did 60
# thousand on two cores shared with the servers.
rows_per_second_expected = 60_000

# The same of rows so wide that their bytes are what takes time (documentmisc, 1.3 MB a row).
bytes_per_second_expected = 20 * MIB
reading_bytes_per_second = 100 * MIB

# What a table takes besides its rows, and a run besides its tables, where there is no history.
table_seconds_expected = 0.05
run_seconds_expected = 1.5

# What runs took: remembered for so many days, per table and load kind the last few; a table of fewer rows takes as
# long as before, a larger one longer as it grows.
estimate_days = 90
estimate_runs = 5
estimate_rows_min = 10_000

# A report looks back over so many runs: a month, of which a bar is still as wide as a finger on a telephone.
report_runs = 30

# An estimate is one where most of it is remembered, and a guess otherwise; what is guessed may be a third of that, or
# three times that. By so many runs it is as sure as they were alike, within these bounds. Of the tables it will end
# with it names those that are so much of it. `analyze` writes a table's time again only where it changed by so much.
estimate_share_min = 0.5
estimate_share_full = 0.95
estimate_near = 0.3
critical_share_min = 0.05
estimate_runs_sure = 3
estimate_width_min = 0.25
estimate_width_max = 0.5
guess_factor = 3

# How far below the recorded watermark an incremental read begins again. A timestamp is when a statement
# began: one that runs for an hour, or commits so late, has rows with timestamps older than what was read meanwhile.
# Local times repeat an hour in autumn. Rows read twice are equal and cost only their reading.
watermark_overlap_seconds = 2 * 3600
# A DATETIME is set in the zone of the session that writes: from UTC-12 to UTC+14.
time_zones_span_hours = 26

# How often an incremental table is compared in full: edits that moved no timestamp are found then at the latest.
reconcile_days = 7

# A table whose engine does not say when it changed is checked by the checksum of all its rows up to here, in a quarter
# of a second at the source; so many tables are asked about in one statement.
checksum_table_rows_max = 100_000
checksums_per_statement = 20

# Up to here an incremental load adds up checksums of full rows, beyond it of keys alone: half a million full
# rows a second, at the source as well.
full_row_checksum_rows_max = 200_000

# Of a larger one of which a third changed since, all is compared: rows that exist already would be staged and
# merged all the same, and keys be added up besides. 1.2 million rows of 4 columns, all changed, one of them really:
# 40.8 s by their timestamps, 4.3 s by reading both servers.
changed_share_max = 1 / 3

# From so many rows on, a table is loaded while the source looks for its highest timestamp, for which it reads every row
# where no index has it. (procedurelog, 1 million rows: 0.65 s of 30. Below, a connection costs more than the wait.)
watermark_meanwhile_rows_min = 100_000

# What `runs` lists: two weeks, where there is one a day.
runs_listed = 14

# Rows of one group of the checksums that source and replica compare. With 0.5% of rows changed at random, groups of
# 16 cost 1.5 bytes a row for all, and 8% of the keys; larger ones name too many keys, smaller ones are too many.
checksum_group_rows = 16

# What is compared by checksums, or read by a watermark, is cut into ranges of so many bytes as the source stores them,
# of which few are sent: each range costs 0.1 s whatever is found in it.
compared_bytes = 16 * MIB

# `verify` asks for the sums of ranges of so many rows, which hold no lock at the source for longer than a third of a
# second; of those that differ, for groups of so many rows; and shows of so many rows which columns differ, and with
# --show-values so many characters of their values.
verified_rows = 100_000
verified_group_rows = 64
differences_shown = 100
shown_characters = 200

# A table of fewer bytes is sooner read than asked about.
reading_bytes_min = 16 * 1024

# Beyond so much more time than reading would take, checksums are not worth the bytes they spare a quick link.
checksum_extra_seconds_max = 0.5

# What the servers do of these, where nothing was measured: MariaDB 10.11 on two shared cores, tables of 38 columns.
checksum_rows_per_second = 400_000
reading_rows_per_second = 800_000

# What is sent once to find out how quick the link to the source is.
link_probe_bytes = 256 * 1024

# `analyze` looks at so many rows of a table, half of them at either end of its key: fewer where a row may be of a
# megabyte, or of 64 KiB, and no more than make so many bytes by the average. For so long at the most. The rows of a
# table whose engine only estimates them are counted up to so many, and so many bytes.
probe_rows = (
    ({"mediumtext", "longtext", "mediumblob", "longblob", "json"}, 20),
    ({"text", "blob"}, 200),
    (set[str](), 1_000),
)
probe_bytes = 4 * MIB
probe_seconds = 5
counted_bytes_max = 16 * MIB
counted_rows_max = 200_000

# Keys named in one statement: 20 digits each, within the smallest max_allowed_packet in use (1 MiB).
keys_per_statement = 10_000

# Settings of the servers below which `test-connections` gives advice.
buffer_pool_bytes_wanted = 1024 * MIB
wal_mib_wanted = 2048

# A longer statement at the source is ended by the server: partitions take seconds.
statement_seconds = 600

# Above this share of changed rows, all out and all in writes less than row by row.
replace_share = 1 / 3

# A run that is later than usual by a fifth of the time between runs did not come: five hours, where it comes nightly.
late_share = 0.2
# Runs by hand, minutes apart, promise no other.
late_interval_min = 3600

# dbt notices a run that did not come before the next one: a day, and half of one for late ones.
fresh_hours = 36

# A table last verified up to date longer ago than this is compared in full, where tables.yml says nothing else.
time_gap_days = 30
