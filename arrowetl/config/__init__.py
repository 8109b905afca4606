"""
Settings: the environment, `.env_…` files, tables.yml, fleet.yml.

The only package that reads the environment or a person's files. May import `planning` and below. Must not connect.
"""
