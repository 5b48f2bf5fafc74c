"""Training: model, loss, metrics, schedule, reader, loop, checkpoint."""
