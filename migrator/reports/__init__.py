"""What people read afterwards: JSON, CSV and Markdown, all from the ledger alone."""
