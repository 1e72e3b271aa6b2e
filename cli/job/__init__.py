"""What the commands that run a transfer share: inputs, estimate, the run itself, outputs."""
