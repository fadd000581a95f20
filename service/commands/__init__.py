"""What `throng` can do, a file a command; `service.__main__` puts them together."""
