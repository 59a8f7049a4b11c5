"""Shards: many small videos in few tar files, which are read from a disk, a web server or object storage."""
