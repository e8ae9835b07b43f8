"""Text to binarised data: fetch, verify, parse, de-duplicate, split, encode; checkpoints to fairseq folders."""
