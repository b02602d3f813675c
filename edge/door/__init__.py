"""The parts of a running door around its pipeline, which `edge.daemon` joins: each says one thing or drives one."""
