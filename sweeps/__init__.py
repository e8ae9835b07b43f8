"""Which runs there are, and running them: one fresh process a run, its folder, its state, its lock."""
