"""Models without weights: asked over the network, measured between bounds."""
