"""What PostgreSQL is: installations, clusters and their files. A public library; its calls block."""
