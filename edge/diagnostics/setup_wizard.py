"""The questions of `edge setup`, asked on a terminal, or answered from the command line and by defaults."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge.core.config import DoorConfig
from edge.core.errors import BrokerRefused, ConfigError, InputError, ThresholdError
from edge.diagnostics.network_checks import broker_finding
from edge.diagnostics.probes import Found, sources, try_camera, working
from edge.diagnostics.toml_writer import with_key
from edge.vision.camera import is_recorded, without_password


class _Ended(InputError):
    """Nobody answers any more, so asking again is useless."""


@dataclass(frozen=True, slots=True)
class Asker:
    """How questions are answered.

    Attributes:
        given: answers from the command line, by key; they are not asked again.
        alone: nobody is asked: what was not given takes its default.
    """

    given: Mapping[str, str]
    alone: bool

    def say(self, text: str) -> None:
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
            raise _Ended("the answers ended before the questions did; nothing was written")
        return line.strip() or default

    def sure(self, question: str) -> bool:
        """A yes or a no; no when in doubt. Whoever answers alone meant what was given."""
        return self.alone or self.ask(f"{question} (y/n)", "n").lower() in ("y", "yes")

    def settle(
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
            except _Ended:
                raise
            except ThresholdError as error:
                if self.alone:
                    raise
                self.say(f"  {error}")


def interview(asker: Asker, state_folder: Path) -> DoorConfig:
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
        config = asker.settle(config, key, question, default, _plainly(key))
    config = _camera(asker, config)
    config = asker.settle(
        config, "state_folder", "Folder for events and people", str(state_folder), _path("state_folder")
    )
    gallery = str(Path(config.state_folder) / "gallery.safetensors")
    config = asker.settle(config, "gallery", "People, a gallery made by tools/enroll.py", gallery, _path("gallery"))
    config = _broker(asker, config)
    config = asker.settle(config, "lock.pin", "GPIO number of a relay for the lock, or none", "none", _pin)
    mode = "passive" if config.lock else "off"
    question = "Photos held before the camera: off, passive (watched) or challenge (asked to move)"
    return asker.settle(config, "liveness.mode", question, mode, _plainly("liveness.mode"))


def _plainly(key: str) -> Callable[[DoorConfig, str], DoorConfig]:
    return lambda config, answer: with_key(config, key, answer)


def _path(key: str) -> Callable[[DoorConfig, str], DoorConfig]:
    """Written whole: the service starts in another folder."""
    return lambda config, answer: with_key(config, key, os.path.abspath(os.path.expanduser(answer)))


def _pin(config: DoorConfig, answer: str) -> DoorConfig:
    if answer in ("", "none"):
        return config
    if not answer.isdecimal():
        raise ConfigError(f"lock.pin: '{answer}' is no GPIO number such as 17")
    if is_recorded(config.camera.source):
        raise ConfigError(
            f"lock.pin: {without_password(config.camera.source)} is a recording, and a recording opens no door"
        )
    return with_key(config, "lock.pin", int(answer))


def _camera(asker: Asker, config: DoorConfig) -> DoorConfig:
    found: list[Found] = []
    if "camera.source" not in asker.given:
        asker.say("Looking for cameras, a few seconds each …")
        found = working(config.camera, sources())
        for number, each in enumerate(found, start=1):
            asker.say(f"  {number}  {each.source}: {each.told}")
        if not found:
            asker.say("  none gives pictures; the address of a network camera will do, too")
    known = {str(number): each for number, each in enumerate(found, start=1)}

    def accept(config: DoorConfig, answer: str) -> DoorConfig:
        each = known.get(answer)
        changed = with_key(config, "camera.source", each.source if each else answer)
        if each is None:
            shown = without_password(answer)
            asker.say(f"  trying {shown} …")
            try:
                asker.say(f"  {shown}: {try_camera(changed.camera, answer).told}")
            except ThresholdError as error:
                asker.say(f"  {error}")
                if not asker.sure("Take it all the same?"):
                    raise ConfigError("then name another") from error
        return changed

    # What did not work is not offered; where nobody is asked, the file says what a Raspberry Pi needs.
    default = "1" if found else config.camera.source if asker.alone else ""
    return asker.settle(config, "camera.source", "Camera, its number or a source", default, accept)


def _broker(asker: Asker, config: DoorConfig) -> DoorConfig:
    for key in ("mqtt.username", "mqtt.password_file", "mqtt.ca_file"):
        if key in asker.given:
            config = with_key(config, key, asker.given[key])
    config = with_key(config, "mqtt.insecure", "mqtt.insecure" in asker.given)

    def accept(config: DoorConfig, answer: str) -> DoorConfig:
        changed = with_key(config, "mqtt.url", answer)
        asker.say(f"  trying {answer} …")
        try:
            asker.say(f"  {broker_finding(changed.mqtt).detail}")
        except ConfigError as error:
            if "insecure = true" not in str(error) or asker.alone:
                raise
            asker.say(f"  {error}")
            if not asker.sure("May everybody on that network read, and open the door?"):
                raise ConfigError("then use mqtts://") from error
            return accept(with_key(config, "mqtt.insecure", True), answer)
        except BrokerRefused as error:
            asker.say(f"  {error}")
            if asker.alone or not asker.sure("Give a user name and a password file?"):
                return _kept(asker, changed, error)
            user = with_key(config, "mqtt.username", asker.ask("User name", config.door))
            return accept(with_key(user, "mqtt.password_file", asker.ask("File with the password", "")), answer)
        except ThresholdError as error:
            asker.say(f"  {error}")
            return _kept(asker, changed, error)
        return changed

    return asker.settle(config, "mqtt.url", "Broker", config.mqtt.url, accept)


def _kept(asker: Asker, config: DoorConfig, error: ThresholdError) -> DoorConfig:
    """What does not work yet, if it is to be kept."""
    if not asker.sure("Take it all the same? Events are kept until it is there"):
        raise ConfigError("then name another") from error
    return config
