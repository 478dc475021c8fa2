"""What the drivers have in common of the commands that README.md of the parent folder describes."""

import argparse
import asyncio
import sys
import threading


def main(**commands):
    """Runs the command that the command line names. It may be a coroutine."""
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=commands)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--group")
    parser.add_argument("--compression", default="none")
    parser.add_argument("--partitions", type=int, default=1)
    o = parser.parse_args()
    done = commands[o.command](o)
    if asyncio.iscoroutine(done):
        asyncio.run(done)


def end_of_input():
    """An event that is set when standard input closes."""
    end = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), end.set()), daemon=True).start()
    return end


def obey_orders(obey, refusals, code):
    """Carries out the orders on standard input, until it closes; `code` is Kafka's number of one of the `refusals`."""
    for line in sys.stdin:
        try:
            obey(*line.split())
            print("ok", flush=True)
        except refusals as error:
            print("error", code(error), flush=True)
