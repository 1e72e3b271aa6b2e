"""A transfer from its plan to its result: stages, time, observers, estimate, checkpoint and record."""
