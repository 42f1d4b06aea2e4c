"""GGUF files as models: what they hold, read once and written as directories transformers loads."""
