"""The running service: cameras and pictures in, counts and density maps out."""
