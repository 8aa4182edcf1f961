"""Where the storage of apps is kept."""
