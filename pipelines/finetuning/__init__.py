"""Fine-tuning's plans, batches and task."""
