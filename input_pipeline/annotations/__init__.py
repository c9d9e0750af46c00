"""Annotation files in, examples out."""
