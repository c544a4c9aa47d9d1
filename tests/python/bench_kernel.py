"""Codriver beside other kernels: start to first kernel_info, round trip of a trivial cell.

Prints one JSON object. Kernels take turns, so that what else the machine does hits all alike;
figures are medians in milliseconds.

    python bench_kernel.py --starts 10 --cells 100 --rust-cells 15 codriver python3 evcxr
"""

import argparse
import json
import socket
import statistics
import sys
import time

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

PATIENCE = 120


class Kernel:
    """A kernel of its own process and connection."""

    def __init__(self, name):
        self.manager = KernelManager(kernel_name=name)
        begin = time.perf_counter()
        self.manager.start_kernel(stdout=open("/dev/null", "w"), stderr=open("/dev/null", "w"))
        # Polled finely: ZeroMQ alone would look again only every 100 ms.
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.manager.shell_port)) == 0:
                    break
            time.sleep(0.001)
        self.client = self.manager.client()
        self.client.start_channels(hb=False)
        request = self.client.kernel_info()
        while self.client.get_shell_msg(timeout=PATIENCE)["parent_header"].get("msg_id") != request:
            pass
        self.start_milliseconds = (time.perf_counter() - begin) * 1000
        self.client.wait_for_ready(timeout=PATIENCE)

    def round_trip(self, code):
        """Milliseconds from the request to both its reply and its idle."""
        begin = time.perf_counter()
        request = self.client.execute(code)
        while True:
            message = self.client.get_iopub_msg(timeout=PATIENCE)
            if message["parent_header"].get("msg_id") != request:
                continue
            if message["msg_type"] == "error":
                raise RuntimeError(f"{code!r}: {message['content']['evalue']}")
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
        while self.client.get_shell_msg(timeout=PATIENCE)["parent_header"].get("msg_id") != request:
            pass
        return (time.perf_counter() - begin) * 1000

    def end(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def starts(names, count):
    times = {name: [] for name in names}
    for _ in range(count):
        for name in names:
            kernel = Kernel(name)
            times[name].append(kernel.start_milliseconds)
            kernel.end()
    return {name: statistics.median(values) for name, values in times.items()}


def round_trips(cells, count):
    """`cells`: label -> (kernel, code with a number in it). All kernels stay open meanwhile."""
    kernels = {label: Kernel(name) for label, (name, _) in cells.items()}
    for label, (_, code) in cells.items():
        for number in range(3):
            kernels[label].round_trip(code.format(number))
    times = {label: [] for label in cells}
    for number in range(count):
        for label, (_, code) in cells.items():
            times[label].append(kernels[label].round_trip(code.format(1000 + number)))
    for kernel in kernels.values():
        kernel.end()
    return {label: statistics.median(values) for label, values in times.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kernels", nargs="+")
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--cells", type=int, default=100)
    parser.add_argument("--rust-cells", type=int, default=15)
    arguments = parser.parse_args()

    there = KernelSpecManager().find_kernel_specs()
    names = [name for name in arguments.kernels if name in there]
    absent = [name for name in arguments.kernels if name not in there]
    if "evcxr" in names:
        rust_peers = {"evcxr Rust": ("evcxr", "{} + 1")}
    else:
        rust_peers = {}
    quick = {"codriver SQL": ("codriver", "%sql SELECT {}"), "codriver shell": ("codriver", "!echo {}")}
    if "python3" in names:
        quick["ipykernel Python"] = ("python3", "{} + 1")
    print("starts ...", file=sys.stderr)
    report = {"absent": absent, "start": starts(names, arguments.starts)}
    print("cells ...", file=sys.stderr)
    report["cell"] = round_trips(quick, arguments.cells)
    print("Rust cells ...", file=sys.stderr)
    report["rust"] = round_trips({"codriver Rust": ("codriver", "{} + 1"), **rust_peers}, arguments.rust_cells)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
