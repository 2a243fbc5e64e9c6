"""The web application: everything that knows Gradio, HTTP and pictures. It builds on `engine`."""
