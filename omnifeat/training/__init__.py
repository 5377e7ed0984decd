"""Loss, frequency estimates, batches and the trainer."""
