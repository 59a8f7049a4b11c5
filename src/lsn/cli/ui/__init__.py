"""What commands show: text and tables, progress, and the live view of streams."""
