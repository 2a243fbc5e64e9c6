"""Start the page: python app.py [--host HOST] [--port PORT] [--device DEVICE] [--auth USER:PASSWORD]."""

from app.main import main

if __name__ == "__main__":
    main()
