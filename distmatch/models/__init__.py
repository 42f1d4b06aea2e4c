"""Everything that touches weights or a model family."""
