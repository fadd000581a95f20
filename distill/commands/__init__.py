"""What `throng-distill` can do, a file a command; `distill.__main__` puts them together."""
