"""What upgrade.py does: the installed versions, the code's syntax trees, and the table of differences."""
