"""Files of other directories, read into people of ours. Nothing here asks a server or writes a store."""
