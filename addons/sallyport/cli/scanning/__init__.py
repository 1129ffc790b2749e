"""What `sallyport scan` is made of: judging one text, lines on stdin, files, and processes that share the work."""
