"""What those in Python hear who talk over TLS, and what they tell of it; the same as talker.mjs does."""

import re

BURST = re.compile(r"burst (\S+) (\d+) (\d+)")
NAMED = re.compile(r"[a-z0-9_.-]+#\d+")
WORDS = "fanfare over TLS, all of it. "


def large(name, length):
    return f"{name} {WORDS * (length // len(WORDS) + 1)}"[:length]


def burst(name, count):
    return (f"burst {name} {number} {count}" for number in range(count))


class Ears:
    def __init__(self, say):
        self.say, self.right = say, {}

    def hear(self, text):
        if found := BURST.fullmatch(text):
            name, number, count = found[1], int(found[2]), int(found[3])
            right = self.right.get(name, 0)
            self.right[name] = right = right + (number == right)
            if number == count - 1:
                self.say({"event": "burst", "name": name, "right": right})
            return
        named = NAMED.search(text)
        name = named[0] if named else text[:100]
        whole = len(text) < 1000 or text == large(name, len(text))
        self.say({"event": "heard", "data": name, "length": len(text), "whole": whole})
