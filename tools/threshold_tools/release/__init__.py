"""The desktop side of releases: keys, signing, transport; used by tools/sync.py and tools/push.py."""
