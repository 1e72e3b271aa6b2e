"""The page: a server for a browser on this machine, and its queue of runs, each a process of its own."""
