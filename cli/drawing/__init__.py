"""What the command line draws: charts, contact sheets, and the pictures of the demo."""
