"""Drawing: charts and contact sheets, and the pictures of the demo."""
