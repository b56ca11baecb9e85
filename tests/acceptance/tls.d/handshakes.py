"""OpenSSL's `s_client`, GnuTLS's `gnutls-cli` and curl: versions, suites, certificates by name, sessions taken up again,
keys that change, protocols, certificates of clients, and what must be refused.

In each suite a WebSocket is spoken with a plain one, messages longer than a record among them."""

import re
import subprocess
import time

from certs import Authority
from peer import BINARY, CLOSE, TEXT, Peer
from pipes import Pipe
from world import EC, RSA, since

PATIENCE_S = 30
PAGE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
ANSWER = "ok\n"
# Suites by version, as OpenSSL calls them, and with which certificate.
SUITES = {
    "TLSv1.3": ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"],
    "TLSv1.2": ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"],
}
NAMES = {"ECDSA": EC, "RSA": RSA}
GNUTLS_CIPHERS = ["AES-128-GCM", "AES-256-GCM", "CHACHA20-POLY1305"]
# How long the programs take to read a line of their own apart from what follows it.
APART_S = 0.3


def run(world, tally):
    with world.serve() as daemon:
        openssl = OpenSsl(world, daemon)
        for version, bare in SUITES.items():
            for key, name in NAMES.items():
                for suite in bare:
                    words, suite = openssl.words_of(version, key, suite)
                    what = f"OpenSSL, {version}, {suite}, {key}"
                    tally.check(f"{what}: page", openssl.page, version, suite, name, words)
                    tally.check(f"{what}: WebSocket", openssl.talks, name, words)
        openssl_more(openssl, tally)
        gnutls(world, daemon, tally)
        curl(world, daemon, tally)
    client_certificates(world, tally)
    with world.serve("--hsts-max-age-s", "600", "--tls-version-min", "1.3") as daemon:
        tally.check("curl: Strict-Transport-Security", hsts, world, daemon)
        tally.check("OpenSSL: TLS 1.2 is refused where the settings say so", OpenSsl(world, daemon).refused, ["-tls1_2"], "protocol version", "version")


class OpenSsl:
    """`openssl s_client`, with one daemon."""

    def __init__(self, world, daemon):
        self.world, self.daemon = world, daemon

    def words_of(self, version, key, suite):
        """Options for a suite, and its whole name."""
        if version == "TLSv1.3":
            return ["-tls1_3", "-ciphersuites", suite], suite
        suite = f"ECDHE-{key}-{suite}"
        return ["-tls1_2", "-cipher", suite], suite

    def command(self, name, words):
        place = ["-connect", f"127.0.0.1:{self.daemon.tls_port}", "-servername", name]
        return ["openssl", "s_client", *place, "-CAfile", self.world.ca, "-verify_return_error", "-verify_hostname", name, *words]

    def ask(self, words, name=EC, request=PAGE):
        """All that it tells, the answer included; it goes on until the server ends the connection."""
        command = [str(word) for word in [*self.command(name, words), "-ign_eof"]]
        done = subprocess.run(command, input=request, capture_output=True, timeout=PATIENCE_S)
        return done.returncode, (done.stdout + done.stderr).decode(errors="replace")

    def page(self, version, suite, name, words):
        before = self.daemon.metrics()
        status, told = self.ask(words, name)
        for wanted in [f"New, {version}, Cipher is {suite}", "Verify return code: 0 (ok)", "HTTP/1.1 200 OK", f"\r\n{ANSWER}"]:
            assert wanted in told, f"without {wanted!r}: {told[-1500:]}"
        # Without close_notify it would end with an error.
        assert status == 0 and "unexpected eof" not in told, f"ended with {status}: {told[-500:]}"
        kind = f"tls_handshakes_total{{tls{version[-3:].replace('.', '')}_full}}"
        assert since(self.daemon, before, kind) == 1, f"{kind} did not count it"

    def talks(self, name, words):
        with_it = self.open(name, ["-quiet", *words])
        other = Peer(self.daemon.port, "/suites")
        converse(with_it, other)
        goodbye(with_it)
        other.close()

    def open(self, name, words, **how):
        return Peer(None, "/suites", sock=Pipe(self.command(name, words), **how))

    def refused(self, words, alert, *reasons):
        """The client hears that alert, and one of these reasons is counted."""
        before = self.daemon.metrics()
        _, told = self.ask(words)
        assert re.search(rf"alert ({alert})", told), f"no alert {alert}: {told[-1000:]}"
        assert "HTTP/1.1" not in told, "it was answered"
        counted = [reason for reason in reasons if since(self.daemon, before, f"tls_handshake_failures_total{{{reason}}}") == 1]
        assert counted, f"not counted as {reasons}"
        return f"alert {re.search(alert, told)[0]}, counted as {counted[0]}"


def converse(sealed, plain):
    """Each hears the other: short messages, long ones, and many."""
    for size in [0, 1, 125, 16_384, 16_385, 100_000]:
        data = bytes(number * 7 % 256 for number in range(size))
        sealed.send(BINARY, data)
        assert plain.read() == (BINARY, data), f"{size} bytes of TLS's did not come in the clear"
        plain.send(BINARY, data)
        assert sealed.read() == (BINARY, data), f"{size} bytes did not come over TLS"
    for number in range(200):
        plain.send(TEXT, b"number %d" % number)
    for number in range(200):
        heard = sealed.read()
        assert heard == (TEXT, b"number %d" % number), f"heard {heard}, not {number}"


def goodbye(peer):
    """Ends it as WebSockets do; the server says goodbye in TLS as well."""
    peer.send(CLOSE, b"\x03\xe8")
    assert peer.read_close().code == 1000
    status = peer.sock.wait()
    assert status == 0 and "unexpected eof" not in peer.sock.said(), f"ended with {status}: {peer.sock.said()[-500:]}"


def openssl_more(openssl, tally):
    for group in ["X25519", "P-256", "P-384"]:
        tally.check(f"OpenSSL, key exchange {group}", group_is_spoken, openssl, group)
    tally.check("OpenSSL, a group that is not spoken first (HelloRetryRequest)", retries, openssl)
    for version, words in [("TLS 1.3", ["-tls1_3"]), ("TLS 1.2", ["-tls1_2"])]:
        tally.check(f"OpenSSL, {version}: a session is taken up again", resumes, openssl, words)
    tally.check("OpenSSL: a session is taken up again by a successor", resumes_later, openssl)
    tally.check("OpenSSL: early data is neither offered nor taken", early_data, openssl)
    tally.check("OpenSSL, TLS 1.3: keys change while a WebSocket talks", keys_change, openssl)
    tally.check("OpenSSL, TLS 1.2: renegotiation is refused", renegotiates, openssl)
    tally.check("OpenSSL: ALPN http/1.1 of two", alpn, openssl)
    tally.check("OpenSSL: ALPN h2 alone is refused", openssl.refused, ["-alpn", "h2"], "no application protocol", "protocol")
    old = ["-cipher", "ALL@SECLEVEL=0"]
    for version, option in [("TLS 1.1", "-tls1_1"), ("TLS 1.0", "-tls1")]:
        # Its hello lacks what each of a newer version has, and rustls looks for that first.
        tally.check(f"OpenSSL: {version} is refused", openssl.refused, [option, *old], "protocol version|handshake failure", "version", "cipher", "misbehaved")
    for suite in ["ECDHE-ECDSA-AES128-SHA", "AES128-GCM-SHA256", "DHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-CCM"]:
        tally.check(f"OpenSSL: the suite {suite} is refused", openssl.refused, ["-tls1_2", "-cipher", suite], "handshake failure", "cipher")
    tally.check("OpenSSL: an unknown name gets the first certificate", first_certificate, openssl)


def group_is_spoken(openssl, group):
    for words in [["-tls1_3"], ["-tls1_2"]]:
        # In TLS 1.2 a key of ECDSA would have to be of such a group as well.
        _, told = openssl.ask([*words, "-groups", group], RSA)
        wanted = f"Server Temp Key: {group}" if group == "X25519" else f"Server Temp Key: ECDH, {dict([('P-256', 'prime256v1'), ('P-384', 'secp384r1')])[group]}"
        assert wanted in told and f"\r\n{ANSWER}" in told, f"without {wanted}: {told[-1000:]}"


def retries(openssl):
    file = openssl.world.folder / "messages"
    _, told = openssl.ask(["-tls1_3", "-groups", "P-521:P-256", "-msg", "-msgfile", file])
    assert f"\r\n{ANSWER}" in told, told[-1000:]
    assert file.read_text().count("ClientHello") == 2, "there was no second ClientHello"


def session_file(openssl, words):
    file = openssl.world.folder / "session"
    file.unlink(missing_ok=True)
    _, told = openssl.ask([*words, "-sess_out", file])
    assert "New, TLSv1" in told and file.exists(), told[-1000:]
    return file


def resumes(openssl, words):
    before = openssl.daemon.metrics()
    file = session_file(openssl, words)
    for _ in range(2):
        _, told = openssl.ask([*words, "-sess_in", file])
        assert "Reused, TLSv1" in told and f"\r\n{ANSWER}" in told, told[-1000:]
    kind = f"tls_handshakes_total{{tls{words[0][-3:].replace('_', '')}_resumed}}"
    assert since(openssl.daemon, before, kind) == 2, f"{kind} did not count them"


def resumes_later(openssl):
    for words in [["-tls1_3"], ["-tls1_2"]]:
        file = session_file(openssl, words)
        openssl.daemon.upgrade()
        _, told = openssl.ask([*words, "-sess_in", file])
        assert "Reused, TLSv1" in told and f"\r\n{ANSWER}" in told, f"{words[0]}: {told[-1000:]}"


def early_data(openssl):
    file = session_file(openssl, ["-tls1_3"])
    described = subprocess.run(["openssl", "sess_id", "-in", file, "-noout", "-text"], capture_output=True, text=True).stdout
    assert "Max Early Data: 0" in described, described
    data = openssl.world.folder / "early"
    data.write_bytes(PAGE)
    _, told = openssl.ask(["-tls1_3", "-sess_in", file, "-early_data", data])
    # It has nothing to offer it by.
    assert "Early data was accepted" not in told, told[-1000:]


def keys_change(openssl):
    file = openssl.world.folder / "updates"
    words = ["-tls1_3", "-msg", "-msgfile", file]
    sealed = openssl.open(EC, words, begins=b"HTTP/1.1 101", noise=[b"read R BLOCK\n"])
    plain = Peer(openssl.daemon.port, "/suites")
    for number, letter in enumerate([b"k\n", b"K\n"] * 3):
        time.sleep(APART_S)
        sealed.sock.sendall(letter)
        time.sleep(APART_S)
        for text in [b"to %d" % number, b"and %d" % number]:
            sealed.send(TEXT, text)
            assert plain.read() == (TEXT, text)
            plain.send(TEXT, text)
            assert sealed.read() == (TEXT, text)
    updates = [line[:3] for line in file.read_text().splitlines() if "KeyUpdate" in line]
    assert updates.count(">>>") == 6, f"the client sent {updates.count('>>>')} key updates"
    # One for each that was asked for, unless two came before there was anything to send.
    assert 1 <= updates.count("<<<") <= 3, f"the server sent {updates.count('<<<')} key updates"
    sealed.close()
    plain.close()
    return f"{updates.count('<<<')} of 3 that were asked for answered"


def renegotiates(openssl):
    file = openssl.world.folder / "renegotiation"
    words = ["-tls1_2", "-msg", "-msgfile", file]
    sealed = openssl.open(EC, words, begins=b"HTTP/1.1 101", noise=[b"read R BLOCK\n"])
    plain = Peer(openssl.daemon.port, "/suites")
    sealed.send(TEXT, b"before")
    assert plain.read() == (TEXT, b"before")
    time.sleep(APART_S)
    sealed.sock.sendall(b"R\n")
    # OpenSSL's client ends the connection when it is told no.
    sealed.sock.wait()
    assert "no_renegotiation" in file.read_text(), f"no alert: {sealed.sock.said()[-500:]}"
    assert "no renegotiation" in sealed.sock.said(), sealed.sock.said()[-500:]
    plain.close()


def alpn(openssl):
    _, told = openssl.ask(["-alpn", "h2,http/1.1"])
    assert "ALPN protocol: http/1.1" in told and f"\r\n{ANSWER}" in told, told[-1000:]


def first_certificate(openssl):
    words = ["-connect", f"127.0.0.1:{openssl.daemon.tls_port}", "-CAfile", openssl.world.ca]
    for name in [["-noservername"], ["-servername", "nobody.example"]]:
        done = subprocess.run(["openssl", "s_client", *map(str, words), *name], input=b"", capture_output=True, timeout=PATIENCE_S)
        assert b"subject=CN = ec" in done.stdout or b"subject=CN=ec" in done.stdout, done.stdout[-1000:]


def client_certificates(world, tally):
    clients, strangers = Authority(world.folder, "clients"), Authority(world.folder, "strangers")
    clients.sign("ann", ["ann.example"], usage="clientAuth")
    clients.sign("bob", ["bob.example"], key="rsa", usage="clientAuth")
    strangers.sign("eve", ["eve.example"], usage="clientAuth")
    with world.serve("--tls-client-ca", clients.pem) as daemon:
        openssl = OpenSsl(world, daemon)
        shown = lambda name: ["-cert", world.folder / f"{name}.pem", "-key", world.folder / f"{name}.key"]
        for version in ["-tls1_3", "-tls1_2"]:
            at = f"OpenSSL, {version[1:]}"
            for name in ["ann", "bob"]:
                tally.check(f"{at}: the client's certificate of {name} is believed", let_in, openssl, [version, *shown(name)])
            tally.check(f"{at}: with a client's certificate a WebSocket talks", openssl.talks, EC, [version, *shown("ann")])
            tally.check(f"{at}: with a client's certificate a session is taken up again", resumes, openssl, [version, *shown("ann")])
            tally.check(f"{at}: a stranger's certificate is refused", openssl.refused, [version, *shown("eve")], "unknown ca|bad certificate|decrypt error|certificate unknown", "certificate")
            tally.check(f"{at}: no certificate is refused", openssl.refused, [version], "certificate required|handshake failure|bad certificate", "certificate_missing")


def let_in(openssl, words):
    _, told = openssl.ask(words)
    assert f"\r\n{ANSWER}" in told, told[-1000:]


def gnutls(world, daemon, tally):
    def command(priority, *words, name=EC):
        place = ["--port", daemon.tls_port, "--sni-hostname", name, "--verify-hostname", name]
        trust = ["--x509cafile", world.ca, "--logfile", world.folder / "gnutls.log"]
        return ["gnutls-cli", *trust, *place, "--priority", f"NORMAL:{priority}", *words, "127.0.0.1"]

    def open_(priority, *words, **how):
        return Peer(None, "/suites", sock=Pipe(command(priority, *words, **how)))

    def log():
        return (world.folder / "gnutls.log").read_text(errors="replace")

    def talks(priority, name, wanted):
        sealed, plain = open_(priority, name=name), Peer(daemon.port, "/suites")
        converse(sealed, plain)
        sealed.send(CLOSE, b"\x03\xe8")
        assert sealed.read_close().code == 1000
        sealed.sock.wait()
        # Without close_notify it would tell of an error.
        for words in [wanted, "The certificate is trusted", "Peer has closed the GnuTLS connection"]:
            assert words in log(), f"without {words!r}: {log()[-1500:]}"
        plain.close()

    for version in ["1.3", "1.2"]:
        for cipher in GNUTLS_CIPHERS:
            for key, name in NAMES.items():
                priority = f"-VERS-ALL:+VERS-TLS{version}:-CIPHER-ALL:+{cipher}"
                tally.check(f"GnuTLS, TLS {version}, {cipher}, {key}: WebSocket", talks, priority, name, f"(TLS{version}")

    def resumes_(version):
        before = daemon.metrics()
        pipe = Pipe(command(f"-VERS-ALL:+VERS-TLS{version}", "--resume", "--waitresumption"))
        # It comes back once the first connection is over.
        pipe.sendall(PAGE)
        pipe.settimeout(10)
        heard = b""
        try:
            while more := pipe.recv(1 << 16):
                heard += more
                if heard.endswith(ANSWER.encode()) and "This is a resumed session" in log():
                    break
        except TimeoutError:
            pass
        pipe.close()
        assert "This is a resumed session" in log(), log()[-1500:]
        kind = f"tls_handshakes_total{{tls{version.replace('.', '')}_resumed}}"
        assert since(daemon, before, kind) == 1, f"{kind} did not count it"

    def rekeys():
        sealed, plain = open_("-VERS-ALL:+VERS-TLS1.3", "--inline-commands"), Peer(daemon.port, "/suites")
        for number, words in enumerate([b"^rekey1^\n", b"^rekey^\n"] * 2):
            time.sleep(APART_S)
            sealed.sock.sendall(words)
            time.sleep(APART_S)
            # A command stands at the beginning of a line.
            sealed.send(TEXT, b"to %d\n" % number)
            assert plain.read() == (TEXT, b"to %d\n" % number)
            plain.send(TEXT, b"and %d" % number)
            assert sealed.read() == (TEXT, b"and %d" % number)
        sealed.send(CLOSE, b"\x03\xe8")
        sealed.read_close()
        sealed.sock.wait()
        assert log().count("Rekey was completed") == 4, log()[-500:]
        plain.close()

    for version in ["1.3", "1.2"]:
        tally.check(f"GnuTLS, TLS {version}: a session is taken up again", resumes_, version)
    tally.check("GnuTLS, TLS 1.3: keys change while a WebSocket talks", rekeys)


def curl(world, daemon, tally):
    def ask(*words, url=f"https://localhost:{daemon.tls_port}/healthz", status=0):
        command = ["curl", "--silent", "--show-error", "--include", "--cacert", world.ca, *words, url]
        done = subprocess.run([str(word) for word in command], capture_output=True, timeout=PATIENCE_S)
        assert done.returncode == status, f"ended with {done.returncode}: {done.stderr.decode()}"
        return done.stdout.decode()

    def pages():
        for words in [["--tlsv1.3"], ["--tls-max", "1.2"], ["--http2"]]:
            assert ask(*words).endswith(f"\r\n\r\n{ANSWER}"), words
        page = ask(url=f"https://localhost:{daemon.tls_port}/")
        assert "HTTP/1.1 200" in page and "<html" in page, page[:500]

    def by_name():
        where = ["--resolve", f"{RSA}:{daemon.tls_port}:127.0.0.1"]
        assert ask(*where, url=f"https://{RSA}:{daemon.tls_port}/healthz").endswith(ANSWER)
        # 60: the certificate is for others.
        ask("--resolve", f"other.example:{daemon.tls_port}:127.0.0.1", url=f"https://other.example:{daemon.tls_port}/healthz", status=60)

    def in_the_clear():
        before = daemon.metrics()
        answer = ask(url=f"http://localhost:{daemon.tls_port}/healthz")
        assert answer.startswith("HTTP/1.1 400 ") and "https://" in answer, answer
        assert since(daemon, before, "rejects_total{plain_http}") == 1, "rejects_total{plain_http} did not count it"

    def of_the_plain_port():
        # 35: the handshake failed.
        ask(url=f"https://localhost:{daemon.port}/healthz", status=35)

    def json_answer():
        said = ask("--header", "Accept: application/json", url=f"https://localhost:{daemon.tls_port}/nowhere-{'x' * 20}")
        assert said.startswith("HTTP/1.1 4"), said[:200]

    tally.check("curl: pages over TLS 1.3 and 1.2", pages)
    tally.check("curl: a certificate by its name", by_name)
    tally.check("curl: a refusal is an answer over TLS", json_answer)
    tally.check("curl: plain HTTP on the TLS port gets a 400 that says so", in_the_clear)
    tally.check("curl: TLS on the plain port fails", of_the_plain_port)


def hsts(world, daemon):
    command = ["curl", "--silent", "--include", "--cacert", str(world.ca), f"https://localhost:{daemon.tls_port}/"]
    answer = subprocess.run(command, capture_output=True, timeout=PATIENCE_S).stdout.decode()
    assert "\r\nstrict-transport-security: max-age=600\r\n" in answer.lower(), answer[:500]


