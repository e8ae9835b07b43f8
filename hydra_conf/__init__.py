"""Every number of an experiment, as Hydra groups, and the typed root configuration they are composed into."""
