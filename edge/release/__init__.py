"""How signed releases reach a door: mirrored, verified, assembled, applied between two frames, reported."""
