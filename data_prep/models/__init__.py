"""Turns a file into a fairseq model folder."""
