"""The PostgreSQL destination: data, position and metadata in one transaction."""
