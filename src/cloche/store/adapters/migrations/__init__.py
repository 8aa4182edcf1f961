"""The migrations of the SQL store, run by `adapters/sql/migrate.py` through Alembic."""
