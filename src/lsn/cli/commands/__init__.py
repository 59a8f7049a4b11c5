"""The commands of `lsn`, each of which parses, calls and prints."""
