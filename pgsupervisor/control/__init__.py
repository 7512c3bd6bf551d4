"""The door: how a client and the daemon talk, over a Unix socket, in Varlink (https://varlink.org).

Varlink is a published wire: JSON objects, each ended by a NUL byte, and an interface file that says what may be
asked. Ours is `io.pgsupervisor.varlink`, beside this file; every service also answers `org.varlink.service`,
which tells a stranger what it offers. So any Varlink client can drive the daemon, and ours needs nothing of it.

- `protocol` is the wire itself: framing and messages, pure, used by both sides.
- `client` is the blocking client, with the standard library alone.
- `server` and what it needs is the daemon's side; the client imports none of it.
"""
