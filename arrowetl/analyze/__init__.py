"""
The source examined: tables.yml, the changelog of its schema, which column can serve as a watermark.

May import `pipeline` and below. Must not load a row.
"""
