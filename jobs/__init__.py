"""One spark-submit entry a step; installed as ml_images.jobs."""
