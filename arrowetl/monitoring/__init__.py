"""
What a person or a monitor learns of runs: status, history, flags, metrics, the webhook.

May import `state` and the packages of the servers. Must not begin a run.
"""
