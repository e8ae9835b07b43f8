"""The transformers back end: fairseq folders to Hugging Face ones and back, Trainer runs, LoRA."""
