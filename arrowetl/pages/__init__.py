"""
Pages for people who would rather look than read: documents in, HTML out, as text (`render`).

May import `model` and below. Must not ask a server, nor read a file.
"""
