"""Puts other people's libraries in place, in a folder that is kept."""

import os
import pathlib
import shutil
import subprocess
import sys

from daemon import CACHE

HERE = pathlib.Path(__file__).resolve().parent
HOME = CACHE / "clients"
PYTHON = HOME / "venv" / "bin" / "python"


def install():
    """From PyPI and npm, unless they are there; Chromium and Symfony's client."""
    install_packages()
    find_symfony()


def install_packages():
    """All but Symfony's client."""
    HOME.mkdir(parents=True, exist_ok=True)
    wanted = HERE / "requirements.txt"
    if not same(wanted, HOME / "requirements.txt"):
        subprocess.run([sys.executable, "-m", "venv", "--clear", HOME / "venv"], check=True)
        subprocess.run([PYTHON, "-m", "pip", "install", "-q", "-r", wanted], check=True)
        shutil.copy(wanted, HOME)
    install_from_npm()
    os.environ.setdefault("CHROMIUM", find_chromium())


def install_from_npm():
    """What runs in Node."""
    HOME.mkdir(parents=True, exist_ok=True)
    wanted = HERE / "package.json"
    if not same(wanted, HOME / "installed.json"):
        shutil.copy(wanted, HOME)
        npm = "npm install --no-audit --no-fund --no-package-lock --loglevel=error".split()
        subprocess.run(npm, cwd=HOME, check=True, stdout=sys.stderr)
        shutil.copy(wanted, HOME / "installed.json")
    os.environ["CLIENT_MODULES"] = str(HOME)


def same(one, other):
    return other.exists() and one.read_bytes() == other.read_bytes()


def find_chromium():
    if not shutil.which("chromium"):
        install_for_all("Chromium is needed: install it, or set CHROMIUM to its path", "chromium")
    return shutil.which("chromium")


def find_symfony():
    """PHP and Symfony's Mercure client, where PHP finds it by its name."""
    probe = "exit((int) !stream_resolve_include_path('Symfony/Component/Mercure/autoload.php'));"
    if not shutil.which("php") or subprocess.run(["php", "-r", probe]).returncode != 0:
        needed = "PHP and Symfony's Mercure client are needed: install Debian's php-cli and php-symfony-mercure"
        install_for_all(needed, "php-cli", "php-symfony-mercure")


def install_for_all(needed, *packages):
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit(needed)
    subprocess.run(["apt-get", "update", "-qq"], check=True)
    install = "apt-get install -y -qq --no-install-recommends".split()
    subprocess.run([*install, *packages], check=True, stdout=subprocess.DEVNULL)


CRATE = "centrifuge-rust-meeting"


def build_crate(package=HERE / "centrifuge_rust", name=CRATE):
    """A program around the client from crates.io; its path. Each has a name of its own: the
    programs lie side by side."""
    manifest = package / "Cargo.toml"
    # The libraries are built once for all of them.
    target = HOME / "target"
    cargo = ["cargo", "build", "--quiet", "--locked", "--manifest-path", manifest, "--target-dir", target]
    subprocess.run(cargo, check=True, stdout=sys.stderr)
    return target / "debug" / name
