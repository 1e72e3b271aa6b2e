"""What is between a command and the people and processes around it: messages, progress, streams, signals."""
