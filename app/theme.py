"""Colours, fonts and style: one accent, the system's own fonts, nothing fetched from elsewhere."""

import gradio as gr

from app.live import STATIC

FONT = [gr.themes.Font(name) for name in ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")]
MONO = [gr.themes.Font(name) for name in ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")]
ACCENT = gr.themes.colors.teal
CSS = STATIC / "style.css"
ICON = STATIC / "icon.svg"


def theme() -> gr.themes.Base:
    """The theme of the page; style.css builds on its variables, so dark mode comes with them."""
    return gr.themes.Base(
        primary_hue=ACCENT, secondary_hue=ACCENT, neutral_hue=gr.themes.colors.zinc, font=FONT, font_mono=MONO,
        radius_size=gr.themes.sizes.radius_md, spacing_size=gr.themes.sizes.spacing_md,
    )
