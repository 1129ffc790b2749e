"""Names and places: recognisers that learn, in worker processes of their own.

`NerScanner` (service.py) is what others use; engine.py is what an engine must be.
"""
