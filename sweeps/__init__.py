"""Plans runs and trains them. Each run has a fresh process, a folder, a state and a lock."""
