"""From a file to a fairseq model folder."""
