"""What counting is: density maps, geometry, metrics, the networks. Imports no other room."""
