"""The job that commands with a transfer share: inputs, estimate, the run itself, outputs."""
