use std::fs::Permissions;

use super::*;

struct Made {
    folder: tempfile::TempDir,
}

impl Made {
    fn new() -> Made {
        Made {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        path
    }

    fn pair(&self, name: &str) -> TlsCertificate {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        TlsCertificate {
            chain_file: self.write(&format!("{name}.pem"), &made.cert.pem()),
            key_file: self.write(&format!("{name}.key"), &made.signing_key.serialize_pem()),
        }
    }
}

fn with(all: Vec<TlsCertificate>) -> Settings {
    Settings {
        tls_certificates: all,
        ..Settings::default()
    }
}

fn told(all: Vec<TlsCertificate>) -> String {
    with(all).certificates().unwrap_err().to_string()
}

#[test]
fn a_certificate_is_read_with_its_key_and_its_names() {
    let made = Made::new();
    let all = vec![made.pair("a.example"), made.pair("b.example")];
    let read = with(all).certificates().unwrap();
    assert!(read.all[0].leaf.is_for("a.example") && read.all[1].leaf.is_for("b.example"));
    assert!(read.clients.is_none());
    assert_eq!(read.notes(0), [""; 0]);
}

#[test]
fn each_file_that_is_not_right_is_told_in_a_sentence() {
    let made = Made::new();
    let (a, b) = (made.pair("a.example"), made.pair("b.example"));
    let crossed = TlsCertificate {
        chain_file: a.chain_file.clone(),
        key_file: b.key_file.clone(),
    };
    let sentence = told(vec![crossed]);
    assert!(
        sentence.contains("does not belong to the first certificate in"),
        "{sentence}"
    );
    let gone = TlsCertificate {
        chain_file: "/no/such/chain".into(),
        ..a.clone()
    };
    assert!(told(vec![gone]).starts_with("cannot read /no/such/chain"));
    let swapped = TlsCertificate {
        chain_file: a.key_file.clone(),
        key_file: a.chain_file.clone(),
    };
    assert!(told(vec![swapped]).contains("holds no certificate"));
    let twice = TlsCertificate {
        key_file: a.chain_file.clone(),
        ..a.clone()
    };
    assert!(told(vec![twice]).contains("holds no private key"));
    let locked =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let locked = TlsCertificate {
        key_file: made.write("locked", locked),
        ..a
    };
    assert!(told(vec![locked, b]).contains("without a passphrase"));
}

#[test]
fn what_should_be_mended_is_told() {
    let made = Made::new();
    let pair = made.pair("a.example");
    fs::set_permissions(&pair.key_file, Permissions::from_mode(0o644)).unwrap();
    let read = with(vec![pair]).certificates().unwrap();
    let until_s = read.all[0].leaf.until_s as u64;
    let notes = read.notes(until_s + 1);
    assert!(notes[0].ends_with("has expired") && notes[1].contains("chmod o="));
    let soon = read.notes(until_s - 3 * 24 * 60 * 60 + 1);
    assert!(soon[0].ends_with("in less than 3 days"), "{soon:?}");
}

#[test]
fn where_tls_is_spoken_there_is_a_certificate() {
    let place = |word: &str| super::super::Place::parse(word).unwrap();
    let sentences = |settings: &Settings| {
        let conflicts = settings.tls_conflicts().into_iter();
        conflicts
            .map(|conflict| conflict.sentence)
            .collect::<Vec<_>>()
    };
    let mut settings = Settings {
        listen_tls: vec![place("127.0.0.1:1")],
        admin_tls: Switch::On,
        ..Settings::default()
    };
    assert_eq!(sentences(&settings).len(), 2);
    settings.tls_certificates = vec![TlsCertificate {
        chain_file: "/a".into(),
        key_file: "/b".into(),
    }];
    settings.listen.clear();
    assert_eq!(sentences(&settings), [""; 0]);
    let again = settings.tls_certificates[0].clone();
    settings.tls_certificates.push(again);
    assert!(sentences(&settings)[0].contains("twice"));
    settings.tls_certificates.pop();
    settings.listen_tls.clear();
    assert_eq!(sentences(&settings).len(), 1);
}
