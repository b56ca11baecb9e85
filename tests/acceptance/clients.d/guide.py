"""Runs the examples of README.md and docs/clients.md, as they stand there.

Each listens to `scores` or publishes there: the listeners must show what the others
publish. Only addresses are changed, to those of a daemon that was started for this, and
the page's library comes from the npm package."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request

import libraries
from daemon import TOP, Daemon
from meeting import SECRET, free_port, sign
from voices import until

LISTENERS = ["README.md js", "README.md python", "README.md rust", "docs/clients.md html 1", "docs/clients.md html 2", "docs/clients.md html 3", "docs/clients.md html 4", "docs/clients.md js 1", "docs/clients.md js 2", "docs/clients.md js 3", "docs/clients.md python 1"]
PUBLISHERS = ["README.md sh", "docs/clients.md python 2", "docs/clients.md python 3", "docs/clients.md php", "docs/clients.md sh"]
# What marks a message in what listeners show.
HEARD = {"README.md sh": "home:9", "docs/clients.md python 2": "home:2", "docs/clients.md python 3": "home:5", "docs/clients.md php": "home:6", "docs/clients.md sh": "home:4"}


def run():
    """How many examples did what they are for, and how many not."""
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        api_port = free_port()
        secret = pathlib.Path(folder) / "app.secret"
        secret.write_text("app-secret")
        key = pathlib.Path(folder) / "token.secret"
        key.write_text(SECRET)
        app = f'id = "1", key = "app-key", secret_files = "{secret}"'
        # With an app the others may do what they may without settings only if that is said.
        everything = 'match = "**", publish = true, presence = true'
        with Daemon("--api", f"127.0.0.1:{api_port}", "--apps", app, "--token-keys", f"HS256:{key}", "--anonymous", everything) as daemon:
            ports = {"8000": daemon.port, "8001": api_port}
            found = {name: addressed(text, ports) for name, text in blocks().items()}
            missing = [name for name in LISTENERS + PUBLISHERS if name not in found]
            strange = [name for name in found if name not in LISTENERS + PUBLISHERS]
            if missing or strange:
                raise SystemExit(f"examples that are not there: {missing}; that nobody runs: {strange}")
            listeners = {name: Example(name, found[name], pathlib.Path(folder), daemon) for name in LISTENERS}
            try:
                for count, listener in enumerate(listeners.values(), 1):
                    listener.start()
                    try:
                        until("it listens", lambda: listening(api_port) >= count or listener.has_ended())
                    except TimeoutError:
                        raise SystemExit(f"{listener.name} does not listen: {listener.out.read_text()}")
                for name in PUBLISHERS:
                    fault = publish(name, found[name], pathlib.Path(folder))
                    passed, failed = book(name, fault, passed, failed)
                passed, failed = book("what is not spoken", refuses(daemon.port), passed, failed)
                for name, listener in listeners.items():
                    passed, failed = book(name, listener.hears(), passed, failed)
            finally:
                for listener in listeners.values():
                    listener.end()
    return passed, failed


def book(name, fault, passed, failed):
    print(f"FAILED: {name}: {fault}" if fault else f"ran: {name}", flush=True)
    return (passed, failed + 1) if fault else (passed + 1, failed)


def blocks():
    """The examples by page, language and number among those of it."""
    found = {}
    for page in ["README.md", "docs/clients.md"]:
        text = (TOP / page).read_text()
        parts = re.findall(r"^```(html|js|php|python|rust|sh)\n(.*?)^```", text, re.M | re.S)
        for language in dict.fromkeys(language for language, _ in parts):
            of_it = [block for other, block in parts if other == language]
            for number, block in enumerate(of_it, 1):
                found[f"{page} {language}" + (f" {number}" if len(of_it) > 1 else "")] = block
    return found


def addressed(text, ports):
    for port, own in ports.items():
        text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{own}")
        text = re.sub(rf"\b((?:wsPort: |port=)){port}\b", rf"\g<1>{own}", text)
    return text


def refuses(port):
    """What is wrong with the answers where docs/clients.md says that nothing is spoken."""
    asked = {"GET": ["sse", "uni_sse", "uni_websocket"], "POST": ["http_stream", "uni_http_stream"]}
    for method, names in asked.items():
        for name in names:
            request = urllib.request.Request(f"http://127.0.0.1:{port}/connection/{name}", method=method)
            try:
                urllib.request.urlopen(request).close()
                return f"{method} of {name} is answered"
            except urllib.error.HTTPError as error:
                if error.code not in (404, 405, 426):
                    return f"{method} of {name} is answered with {error.code}"
    return None


def listening(api_port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{api_port}/topics/scores") as answer:
            return json.load(answer)["subscribers"]
    except urllib.error.HTTPError:
        return 0


class Example:
    """A program that listens and shows what it hears."""

    def __init__(self, name, text, folder, daemon):
        self.name, self.language = name, name.split()[1]
        self.folder = folder / re.sub(r"\W", "-", name)
        self.folder.mkdir()
        self.out = self.folder / "shown"
        self.text, self.daemon = text, daemon
        self.process = None

    def start(self):
        with open(self.out, "w") as out:
            self.process = subprocess.Popen(
                [str(part) for part in self.command()], stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT, cwd=self.folder
            )

    def command(self):
        if self.language == "python":
            (self.folder / "example.py").write_text(self.text)
            return [libraries.PYTHON, "example.py"]
        if self.language == "html":
            (self.folder / "example.html").write_text(self.text)
            return ["node", libraries.HERE / "guide_page.mjs", self.folder / "example.html", self.daemon.http]
        if self.language == "rust":
            return [self.build()]
        (self.folder / "example.mjs").write_text(self.text)
        (self.folder / "node_modules").symlink_to(libraries.HOME / "node_modules")
        # Browsers and Node from 22 on have a WebSocket of their own.
        return ["node", "--experimental-websocket", "example.mjs"]

    def build(self):
        package = self.folder / "package"
        shutil.copytree(libraries.HERE / "centrifuge_rust", package, ignore=shutil.ignore_patterns("src"))
        (package / "src").mkdir()
        (package / "src/main.rs").write_text(self.text)
        name = "centrifuge-rust-guide"
        for file in ["Cargo.toml", "Cargo.lock"]:
            path = package / file
            path.write_text(path.read_text().replace(libraries.CRATE, name))
        return libraries.build_crate(package, name)

    def has_ended(self):
        return self.process.poll() is not None

    def hears(self):
        """What is wrong, once all that was published has been shown or will not be."""
        # Each language shows it in its own way.
        shown = lambda: re.sub(r"""[\s'"]""", "", self.out.read_text())
        missing = lambda: [mark for mark in HEARD.values() if mark not in shown()]
        try:
            until("all is shown", lambda: not missing() or self.has_ended())
        except TimeoutError:
            pass
        return f"{missing()} missing in what it shows: {self.out.read_text()[-500:]}" if missing() else None

    def end(self):
        if self.process:
            # A browser is to be ended by who has started it.
            self.process.stdin.close()
            try:
                self.process.wait(2 if self.language == "html" else 0.1)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def publish(name, text, folder):
    language = name.split()[1]
    program = {"python": [libraries.PYTHON, "-c"], "sh": ["sh", "-euc"], "php": ["php", "-r"]}[language]
    text = text.replace("curl ", "curl --silent --show-error --fail-with-body ")
    environment = dict(os.environ)
    if language == "php":
        # Packages of Debian in place of Composer's.
        vendor = folder / "vendor"
        vendor.mkdir(exist_ok=True)
        (vendor / "autoload.php").write_text("<?php require_once 'Symfony/Component/Mercure/autoload.php';")
        text = text.removeprefix("<?php\n")
        environment["MERCURE_JWT"] = sign(mercure={"publish": ["*"]})
    ended = subprocess.run([*program, text], cwd=folder, env=environment, capture_output=True, text=True)
    if ended.returncode != 0 or "error" in ended.stdout:
        return f"ended with {ended.returncode}: {ended.stdout}{ended.stderr}"
    return None
