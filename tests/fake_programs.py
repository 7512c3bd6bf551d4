"""PostgreSQL's programs as small shell scripts, for installations that this machine does not have."""

from __future__ import annotations

import shlex
from pathlib import Path


def write_program(path: Path, script: str) -> Path:
    """Write an executable shell script, and the directories above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def write_printer(path: Path, text: str) -> Path:
    """Write a program that prints a text, whatever it is asked."""
    return write_program(path, f"printf '%s\\n' {shlex.quote(text)}")


def write_postgres(bindir: Path, version: str = "15.18") -> Path:
    """Write a `postgres` that tells its version, and return its bindir."""
    write_printer(bindir / "postgres", f"postgres (PostgreSQL) {version}")
    return bindir
