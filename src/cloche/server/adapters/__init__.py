"""Technology of the server: threads, and tables in the store's database."""
