"""The policies of docs/how-to/aws-setup.md, held against the requests that the commands make."""
