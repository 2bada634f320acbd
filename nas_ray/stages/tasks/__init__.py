"""Not of a run: models are fine-tuned on tasks, compared, asked, and trained by Agora."""
