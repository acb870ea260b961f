"""From observed BSON kinds to tables: pure functions, no clock, no I/O."""
