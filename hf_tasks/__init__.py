"""The transformers back end: converts fairseq folders to Hugging Face folders and back, runs Trainer, trains LoRA."""
