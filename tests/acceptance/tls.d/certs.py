"""Certificates for a run, made with the `openssl` command."""

import base64
import hashlib
import pathlib
import ssl
import subprocess

# The machine's own configuration would add extensions of its own.
CONFIG = "[req]\ndistinguished_name = name\nprompt = no\n[name]\n"
DAYS = "30"
KEYS = {"ec": ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"], "rsa": ["rsa:2048"]}
ISSUER = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign", "subjectKeyIdentifier=hash"]
LEAF = ["basicConstraints=CA:FALSE", "keyUsage=critical,digitalSignature", "authorityKeyIdentifier=keyid"]


class Authority:
    """Signs certificates; all files lie in one folder."""

    def __init__(self, folder, name="authority"):
        self.folder, self.name = pathlib.Path(folder), name
        self.pem, self.key = self.path(f"{name}.pem"), self.path(f"{name}.key")
        self.path("openssl.cnf").write_text(CONFIG)
        self._make(name, "ec", ISSUER, [])

    def path(self, name):
        return self.folder / name

    def sign(self, name, hosts, key="ec", usage="serverAuth"):
        """Writes NAME.pem and NAME.key for these hosts."""
        names = ",".join(f"IP:{host}" if host[0].isdigit() else f"DNS:{host}" for host in hosts)
        extensions = [*LEAF, f"extendedKeyUsage={usage}", f"subjectAltName={names}"]
        self._make(name, key, extensions, ["-CA", self.pem, "-CAkey", self.key])
        return self.path(f"{name}.pem"), self.path(f"{name}.key")

    def table(self, name):
        """What the option --tls-certificates takes."""
        return f'chain_file = "{self.path(name)}.pem", key_file = "{self.path(name)}.key"'

    def spki(self, name):
        """The hash of the public key by which Chromium can be told to believe a certificate."""
        public = self._openssl("x509", "-in", self.path(f"{name}.pem"), "-noout", "-pubkey")
        der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=public, capture_output=True, check=True).stdout
        return base64.b64encode(hashlib.sha256(der).digest()).decode()

    def context(self, version=None):
        """Python's clients, who believe this authority; of one version of TLS if it is named."""
        context = ssl.create_default_context(cafile=self.pem)
        if version:
            context.minimum_version = context.maximum_version = version
        return context

    def _make(self, name, key, extensions, signer):
        words = ["req", "-x509", "-newkey", *KEYS[key], "-noenc", "-days", DAYS, "-subj", f"/CN={name}", "-sha256"]
        words += ["-config", self.path("openssl.cnf"), "-keyout", self.path(f"{name}.key"), "-out", self.path(f"{name}.pem")]
        for extension in extensions:
            words += ["-addext", extension]
        self._openssl(*words, *signer)

    def _openssl(self, *words):
        done = subprocess.run(["openssl", *map(str, words)], capture_output=True)
        if done.returncode:
            raise SystemExit(f"openssl {' '.join(map(str, words))}: {done.stderr.decode()}")
        return done.stdout
