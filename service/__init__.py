"""The running service: cameras and pictures in, counts and density maps out."""

from importlib.metadata import version

VERSION = version("throng")
