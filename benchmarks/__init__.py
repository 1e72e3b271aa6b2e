"""How fast impasto is beside its peers, each in a process and an environment of its own; see README.md here."""
