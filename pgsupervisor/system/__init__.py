"""What Linux is: processes, log files, watched directories. No word of PostgreSQL is known here."""
