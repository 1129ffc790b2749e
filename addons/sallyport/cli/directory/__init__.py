"""`sallyport directory`: who is who, by hand and by import; and who may read whose events."""
