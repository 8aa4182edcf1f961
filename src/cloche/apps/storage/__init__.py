"""What apps keep: keys, documents, blobs, SQL and jobs, each app for itself."""
