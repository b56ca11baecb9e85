"""The Autobahn suite's fuzzing client speaks wss:// itself."""

import importlib.machinery
import importlib.util
import pathlib
import subprocess

from daemon import CACHE

# The last ones for Python 2.7.
PACKAGES = ["pyOpenSSL==21.0.0", "cryptography==3.3.2", "service_identity==18.1.0"]


def suite():
    path = str(pathlib.Path(__file__).parents[1] / "autobahn")
    loader = importlib.machinery.SourceFileLoader("autobahn_suite", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("autobahn_suite", loader))
    loader.exec_module(module)
    return module


def run(world, tally):
    autobahn = suite()
    wstest = autobahn.install()
    if wstest is None:
        tally.skipped += autobahn.GROUPS_CASES
        print("skipped the Autobahn suite: it needs CPython 2.7, which this machine does not have (PYTHON27 names one)")
        return
    python = wstest.parent / "python"
    if subprocess.run([python, "-c", "import OpenSSL, service_identity"], capture_output=True).returncode:
        subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
    with world.serve(limits=autobahn.OPTIONS) as daemon:
        results = autobahn.run(wstest, autobahn.GROUPS, CACHE / "autobahn-tls-reports", daemon, daemon.wss)
        figures = daemon.metrics()
    failed = autobahn.tell(results)
    tally.passed += len(results) - len(failed)
    tally.failed += len(failed)
    shaken = sum(number for name, number in figures.items() if name.startswith("tls_handshakes_total{"))
    tally.book(f"the Autobahn suite has come over TLS: {shaken:.0f} handshakes", [] if shaken >= len(results) else ["it has not"])
