"""What has happened: the SQLite file that is both the queue and the only truth about a migration."""
