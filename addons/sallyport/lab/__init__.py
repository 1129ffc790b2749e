"""Stand-in AI providers on this machine: real TLS, real wire formats, answers that repeat what was seen.

For the demo, the tests and the benchmarks. A model's name chooses what happens; see `behaviour.py`.
Knows nothing of the gateway in front of it.
"""

from sallyport.lab.authority import LabCa
from sallyport.lab.record import SeenConnection, SeenRequest, read_record
from sallyport.lab.server import Lab

__all__ = ["Lab", "LabCa", "SeenConnection", "SeenRequest", "read_record"]
