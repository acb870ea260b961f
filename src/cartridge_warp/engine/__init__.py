"""The sync itself: it knows the connectors only through ``protocols``."""
