"""The heart: what the administrator wants, what the postmaster does, and the one function that moves both on.

`machine` and `plan` decide and do nothing else: no clock, file, process, task or logger is imported there.
`keeper` gives each cluster one task that asks them and performs what they say; `supervisor` knows the keepers by
name. Nothing here knows PostgreSQL: a postmaster is what `keeper.Postmaster` says it is, and tests bring a fake.
"""
