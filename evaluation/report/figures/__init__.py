"""The report's figures: functions from a study and a theme to a matplotlib figure."""
