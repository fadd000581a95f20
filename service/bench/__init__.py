"""`throng bench`: how many cameras a machine holds, seen from outside, as a user would run it."""
