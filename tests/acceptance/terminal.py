"""Terminals that tests look into: each is tmux, with a server of its own."""

import os
import shutil
import subprocess
import time

PATIENCE_S = 30


class Terminal:
    """A terminal of its own server of tmux, so that nobody's settings are used."""

    number = 0

    def __init__(self, folder, words, width, height, variables=()):
        # Each of them a server of its own.
        self.number = Terminal.number = Terminal.number + 1
        self.socket = os.path.join(folder, f"tmux-{self.number}")
        self.status = os.path.join(folder, f"status-{self.number}")
        set_up = " ".join([*variables, "TERM=tmux-256color"])
        shell = f"env {set_up} {' '.join(map(str, words))}; echo $? > {self.status}; echo the shell is back; read -r end"
        size = ["-x", str(width), "-y", str(height)]
        self.tmux("-f", "/dev/null", "new-session", "-d", *size, "sh", "-c", shell)

    def tmux(self, *words):
        asked = subprocess.run(["tmux", "-S", self.socket, *words], capture_output=True, text=True)
        if asked.returncode:
            raise RuntimeError(f"tmux {words[0]}: {asked.stderr.strip()}")
        return asked.stdout

    def press(self, *keys):
        self.tmux("send-keys", *keys)

    def resize(self, width, height):
        self.tmux("resize-window", "-x", str(width), "-y", str(height))

    def enter(self, *lines):
        """Types lines, and ends each of them."""
        for line in lines:
            self.press("-l", line)
            self.press("Enter")

    def text(self):
        return self.tmux("capture-pane", "-p")

    def all_text(self):
        """What has left the screen as well, each line as long as it was written."""
        return self.tmux("capture-pane", "-p", "-J", "-S", "-")

    def escaped(self):
        return self.tmux("capture-pane", "-p", "-e")

    def await_text(self, *parts, without=()):
        end = time.monotonic() + PATIENCE_S
        while True:
            text = self.text()
            if all(part in text for part in parts) and not any(part in text for part in without):
                return text
            if time.monotonic() > end:
                raise AssertionError(f"never {parts} without {without}, but\n{text}")
            time.sleep(0.1)

    def exit_status(self):
        self.await_text("the shell is back")
        with open(self.status) as file:
            return int(file.read())

    def end(self):
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], capture_output=True)


def need_tmux():
    """Whether there is tmux, or can be."""
    if shutil.which("tmux"):
        return True
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    subprocess.run(["apt-get", "update", "-qq"], check=True)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "tmux"], check=True, env=quiet, stdout=subprocess.DEVNULL)
    return shutil.which("tmux") is not None
