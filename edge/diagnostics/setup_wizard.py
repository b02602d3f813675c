"""The questions of `edge setup`, asked on a terminal, or answered from the command line and by defaults."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge.core.config import DoorConfig
from edge.core.errors import BrokerRefusedError, ConfigError, InputError, ThresholdError
from edge.diagnostics.network_checks import broker_finding
from edge.diagnostics.probes import ProbeResult, camera_candidates, first_working, try_camera
from edge.diagnostics.toml_writer import with_value
from edge.vision.camera import is_recorded, redact_url


class _InputClosed(InputError):
    """Nobody answers any more, so asking again is useless."""


@dataclass(frozen=True, slots=True)
class Prompter:
    """How questions are answered.

    Attributes:
        given: answers from the command line, by key; they are not asked again.
        alone: nobody is asked: what was not given takes its default.
    """

    given: Mapping[str, str]
    alone: bool

    def print(self, text: str) -> None:
        """Tell whoever answers."""
        print(text, file=sys.stderr, flush=True)

    def ask(self, question: str, default: str) -> str:
        """One line from the terminal, or the default for an empty one.

        Raises:
            _Ended: there are no more lines.
        """
        if self.alone:
            return default
        print(f"{question} [{default}]: " if default else f"{question}: ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            raise _InputClosed("the answers ended before the questions did; nothing was written")
        return line.strip() or default

    def confirm(self, question: str) -> bool:
        """A yes or a no; no when in doubt. Whoever answers alone meant what was given."""
        return self.alone or self.ask(f"{question} (y/n)", "n").lower() in ("y", "yes")

    def set(
        self, config: DoorConfig, key: str, question: str, default: str, accept: Callable[[DoorConfig, str], DoorConfig]
    ) -> DoorConfig:
        """Take the given answer, or ask until one is accepted.

        Raises:
            ConfigError, CameraError: what was given, or taken without asking, is refused.
        """
        if key in self.given:
            return accept(config, self.given[key])
        while True:
            try:
                return accept(config, self.ask(question, default))
            except _InputClosed:
                raise
            except ThresholdError as error:
                if self.alone:
                    raise
                self.print(f"  {error}")


def run_wizard(asker: Prompter, state_folder: Path) -> DoorConfig:
    """Settle a door's configuration.

    Args:
        asker: how.
        state_folder: where the door keeps what it knows, unless told otherwise.

    Raises:
        ThresholdError: an answer that was given cannot be used, or there are no more.
    """
    config = DoorConfig(site="home", door="front")
    for key, question, default in (
        ("site", "Site, the name that the doors of a building share", "home"),
        ("door", "Door", "front"),
    ):
        config = asker.set(config, key, question, default, _label(key))
    config = _camera(asker, config)
    config = asker.set(config, "state_folder", "Folder for events and people", str(state_folder), _path("state_folder"))
    gallery = str(Path(config.state_folder) / "gallery.safetensors")
    config = asker.set(config, "gallery", "People, a gallery made by tools/enroll.py", gallery, _path("gallery"))
    config = _broker(asker, config)
    config = asker.set(config, "lock.pin", "GPIO number of a relay for the lock, or none", "none", _pin)
    mode = "passive" if config.lock else "off"
    question = "Photos held before the camera: off, passive (watched) or challenge (asked to move)"
    return asker.set(config, "liveness.mode", question, mode, _label("liveness.mode"))


def _label(key: str) -> Callable[[DoorConfig, str], DoorConfig]:
    return lambda config, answer: with_value(config, key, answer)


def _path(key: str) -> Callable[[DoorConfig, str], DoorConfig]:
    """Written whole: the service starts in another folder."""
    return lambda config, answer: with_value(config, key, os.path.abspath(os.path.expanduser(answer)))


def _pin(config: DoorConfig, answer: str) -> DoorConfig:
    if answer in ("", "none"):
        return config
    if not answer.isdecimal():
        raise ConfigError(f"lock.pin: '{answer}' is no GPIO number such as 17")
    if is_recorded(config.camera.source):
        raise ConfigError(f"lock.pin: {redact_url(config.camera.source)} is a recording, and a recording opens no door")
    return with_value(config, "lock.pin", int(answer))


def _camera(asker: Prompter, config: DoorConfig) -> DoorConfig:
    found: list[ProbeResult] = []
    if "camera.source" not in asker.given:
        asker.print("Looking for cameras, a few seconds each …")
        found = first_working(config.camera, camera_candidates())
        for number, each in enumerate(found, start=1):
            asker.print(f"  {number}  {each.source}: {each.told}")
        if not found:
            asker.print("  none gives pictures; the address of a network camera will do, too")
    known = {str(number): each for number, each in enumerate(found, start=1)}

    def accept(config: DoorConfig, answer: str) -> DoorConfig:
        each = known.get(answer)
        changed = with_value(config, "camera.source", each.source if each else answer)
        if each is None:
            shown = redact_url(answer)
            asker.print(f"  trying {shown} …")
            try:
                asker.print(f"  {shown}: {try_camera(changed.camera, answer).told}")
            except ThresholdError as error:
                asker.print(f"  {error}")
                if not asker.confirm("Take it all the same?"):
                    raise ConfigError("then name another") from error
        return changed

    # What did not work is not offered; where nobody is asked, the file says what a Raspberry Pi needs.
    default = "1" if found else config.camera.source if asker.alone else ""
    return asker.set(config, "camera.source", "Camera, its number or a source", default, accept)


def _broker(asker: Prompter, config: DoorConfig) -> DoorConfig:
    for key in ("mqtt.username", "mqtt.password_file", "mqtt.ca_file"):
        if key in asker.given:
            config = with_value(config, key, asker.given[key])
    config = with_value(config, "mqtt.insecure", "mqtt.insecure" in asker.given)

    def accept(config: DoorConfig, answer: str) -> DoorConfig:
        changed = with_value(config, "mqtt.url", answer)
        asker.print(f"  trying {answer} …")
        try:
            asker.print(f"  {broker_finding(changed.mqtt).detail}")
        except ConfigError as error:
            if "insecure = true" not in str(error) or asker.alone:
                raise
            asker.print(f"  {error}")
            if not asker.confirm("May everybody on that network read, and open the door?"):
                raise ConfigError("then use mqtts://") from error
            return accept(with_value(config, "mqtt.insecure", True), answer)
        except BrokerRefusedError as error:
            asker.print(f"  {error}")
            if asker.alone or not asker.confirm("Give a user name and a password file?"):
                return _keep_anyway(asker, changed, error)
            user = with_value(config, "mqtt.username", asker.ask("User name", config.door))
            return accept(with_value(user, "mqtt.password_file", asker.ask("File with the password", "")), answer)
        except ThresholdError as error:
            asker.print(f"  {error}")
            return _keep_anyway(asker, changed, error)
        return changed

    return asker.set(config, "mqtt.url", "Broker", config.mqtt.url, accept)


def _keep_anyway(asker: Prompter, config: DoorConfig, error: ThresholdError) -> DoorConfig:
    """What does not work yet, if it is to be kept."""
    if not asker.confirm("Take it all the same? Events are kept until it is there"):
        raise ConfigError("then name another") from error
    return config
