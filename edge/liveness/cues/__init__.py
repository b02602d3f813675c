"""Cues of passive liveness: each module measures one, `weights` combines them into a score."""
