"""How well detection detects: figures per source of a data folder, written as one page of tables."""
