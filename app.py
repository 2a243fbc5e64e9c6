"""Start the page: python app.py [--host HOST] [--port PORT] [--device DEVICE] [--auth USER:PASSWORD]."""

import signal
import sys

from app.main import main

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # users' files are deleted on the ordinary way out only
    main()
