"""Gets verified files from addresses and packages."""
