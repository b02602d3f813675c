"""The desktop side of releases: keys, signing, transport; used by threshold sync and threshold push."""
