"""Run the lab alone: python -m sallyport.lab --port 0 --json"""

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path

from sallyport.errors import OperatorError
from sallyport.lab.provider import HOSTS
from sallyport.lab.server import LOOPBACK, Lab


def main() -> int:
    parser = argparse.ArgumentParser(prog="sallyport.lab", description="Stand-in AI providers for tests.")
    parser.add_argument(
        "--host", action="append", help="address to bind (repeatable; default: loopback, both families)"
    )
    parser.add_argument("--port", type=int, default=0, help="port, 0 for any free one (default)")
    parser.add_argument("--dir", type=Path, help="folder of the lab's authority (default: a temporary one)")
    parser.add_argument("--record", type=Path, help="append every request to this JSON-lines file")
    parser.add_argument(
        "--fault", choices=["expired", "wrong-name", "self-signed"], help="serve bad certificates"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON line on stdout once it listens")
    options = parser.parse_args()
    lab = Lab(
        hosts=tuple(options.host or LOOPBACK),
        port=options.port,
        folder=options.dir,
        record=options.record,
        keep=False,
        fault=options.fault,
    )
    try:
        asyncio.run(_run(lab, as_json=options.json))
    except OperatorError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


async def _run(lab: Lab, *, as_json: bool) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    try:
        await lab.start()
        if as_json:
            addresses = [[*address] for address in lab.addresses]
            print(
                json.dumps(
                    {"port": lab.port, "ca": str(lab.ca.certificate), "addresses": addresses, "hosts": HOSTS}
                ),
                flush=True,
            )
        else:
            print(f"Listening on {', '.join(f'{host} port {port}' for host, port in lab.addresses)}")
            print(f"Certificate authority: {lab.ca.certificate}")
            print(f"Hosts: {', '.join(HOSTS)}", flush=True)
        await stopped.wait()
    finally:
        await lab.stop()


if __name__ == "__main__":
    sys.exit(main())
