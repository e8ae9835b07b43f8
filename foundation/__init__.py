"""What every room stands on: whole files, errors, counts in words. Imports nothing of ours."""
