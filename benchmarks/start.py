"""How long `python app.py` takes to show its first picture, against only importing what it needs.

    python -m benchmarks.start [--runs 5] [-- options of app.py]

The clock runs from the start of the process until the served page has come over in full; the first
picture is part of that page. In turns with it, in the same run: `python -c "import torch, gradio"`.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURE = b"data:image/png;base64,"


def imports() -> float:
    """Seconds for the imports alone."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch, gradio"], check=True)
    return time.perf_counter() - begun


def first_picture(options: list[str]) -> float:
    """Seconds from the start of the app until its page, picture included, has been received."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    begun = time.perf_counter()
    command = [sys.executable, "app.py", "--port", str(port), *options]
    app = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        while app.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as page:
                    if PICTURE in page.read():
                        return time.perf_counter() - begun
            except OSError:
                time.sleep(0.02)
        raise SystemExit("The app ended before it had shown a picture.")
    finally:
        app.kill()
        app.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("options", nargs="*", help="handed to app.py; put -- before them")
    options = parser.parse_args()
    imports()  # files come into the system's cache
    pairs = [(imports(), first_picture(options.options)) for _ in range(options.runs)]
    alone, shown = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}; median of {options.runs}\n")
    print("| | seconds |\n|---|---|")
    print(f"| import torch, gradio | {alone:.2f} |\n| first picture | {shown:.2f} |\n| ratio | {shown / alone:.2f} |")


if __name__ == "__main__":
    main()
