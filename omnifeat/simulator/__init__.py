"""A simulated world with latent topics that stands in for private logs. It knows of no model."""
