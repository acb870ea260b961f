"""cartridge-warp keeps PostgreSQL exactly equal to MongoDB."""

__version__ = "0.1.0"
