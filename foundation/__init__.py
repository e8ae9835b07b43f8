"""Helpers that every room uses: whole files, errors, counts in words. This room imports no other room."""
