"""The MongoDB wing: everything that speaks to MongoDB, and nothing that does not."""
