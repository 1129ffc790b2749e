"""`sallyport keys`: which credentials are in use, whose they are, and gateway keys in place of real ones."""
