"""Rendering of documents: `print_prediction` for a terminal, `html_page` for a browser."""

from genner.render.page import html_page
from genner.render.terminal import print_prediction

__all__ = ["html_page", "print_prediction"]
