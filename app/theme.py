"""Colours, fonts and style: one accent, the system's own fonts, nothing fetched from elsewhere."""

import gradio as gr

from app.live import STATIC

FONT = [gr.themes.Font(name) for name in ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")]
MONO = [gr.themes.Font(name) for name in ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")]
ACCENT = gr.themes.colors.teal
CSS = [STATIC / "style.css", STATIC / "deck.css", STATIC / "swap.css", STATIC / "exports.css", STATIC / "compare.css",
       STATIC / "atlas.css", STATIC / "rebuild.css", STATIC / "fields.css"]
ICON = STATIC / "icon.svg"


def theme() -> gr.themes.Base:
    """The theme of the page; style.css builds on its variables, so dark mode comes with them."""
    base = gr.themes.Base(
        primary_hue=ACCENT, secondary_hue=ACCENT, neutral_hue=gr.themes.colors.zinc, font=FONT, font_mono=MONO,
        radius_size=gr.themes.sizes.radius_md, spacing_size=gr.themes.sizes.spacing_md,
    )
    return base.set(
        body_background_fill="*neutral_50", block_background_fill="white", block_background_fill_dark="*neutral_900",
        # Base's paler grey falls short of the contrast that small text needs (WCAG 2.2, 1.4.3).
        body_text_color_subdued="*neutral_500", body_text_color_subdued_dark="*neutral_400",
        block_info_text_color="*neutral_500", block_info_text_color_dark="*neutral_400",
        button_primary_background_fill="*primary_700", button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700", button_primary_background_fill_hover_dark="*primary_600",
        color_accent="*primary_600",
    )
