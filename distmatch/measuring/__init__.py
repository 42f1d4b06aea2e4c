"""From word log-probs to metrics with intervals, and how far a model is from its base."""
