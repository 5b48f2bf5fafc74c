"""Figures and the HTML page that shows what happened to every row."""
