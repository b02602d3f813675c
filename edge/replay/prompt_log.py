"""What a door with challenges would have asked of those in a clip, who cannot hear it."""

from __future__ import annotations

import sys

from edge.liveness.prompts import ChallengePrompt, ChallengeState
from edge.replay.replay import ReplayStep


class Asked:
    """Looks on while a clip is replayed (a `Watcher`), and tells on standard error what is asked."""

    def on_step(self, moment: ReplayStep) -> None:
        """Tell what was asked with this frame; seldom anything."""
        for prompt in moment.prompts:
            print(f"{prompt.t_ns / 1e9:8.2f} s  challenge {prompt.challenge_id}: {describe(prompt)}", file=sys.stderr)


def describe(prompt: ChallengePrompt) -> str:
    """A prompt in a few words."""
    if prompt.state is ChallengeState.ASKED:
        by_s = prompt.expires_ns / 1e9
        return f"{prompt.movement}, {prompt.step} of {prompt.steps}, by {by_s:.2f} s"
    return f"{prompt.state}{': ' + prompt.reason if prompt.reason else ''}"
