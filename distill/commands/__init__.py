"""What `throng-distill` can do, a file a command; `distill.app` puts them together."""
