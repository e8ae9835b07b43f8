"""Every number of an experiment, in Hydra groups, and the typed root configuration composed from the groups."""
