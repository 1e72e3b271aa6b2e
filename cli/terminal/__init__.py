"""The terminal, and the processes around a command: messages, progress, standard streams, signals."""
