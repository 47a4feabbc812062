"""Steps of the schema, run by Alembic from ``upgrade.py``."""
