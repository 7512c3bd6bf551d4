"""What Linux is: processes, log files, watched directories. What is served with them is not known here."""
