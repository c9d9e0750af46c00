"""Media files in; facts about them, and pixels, out."""
