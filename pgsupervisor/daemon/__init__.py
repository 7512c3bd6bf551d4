"""pgsupervisord: where the rooms are wired together.

Nothing is decided here. `main` reads the arguments, `service` connects the parts and waits for the end, `hosting`
is what a keeper's postmaster really is (the library, a pidfd and an inotify watch), `reporting` is the log (`entries`
is how the journal has it), and `demo` is a tour. An `upgrade` makes another version of all that, in the same process:
`program` is what it executes, `handover` what it takes along.
"""
