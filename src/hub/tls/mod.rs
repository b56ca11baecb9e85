//! What TLS is served with: the certificates in force, which a reload replaces while cores
//! shake hands, and the keys of session tickets.
//!
//! The files are read in `config::tls`; hands are shaken in `core::tls_door` and
//! `admin::serving`. No connection that is there notices a change.

mod counts;
mod failure;
mod secrecy;
mod tickets;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use ring::digest::{SHA256, digest};
use rustls::crypto::CryptoProvider;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{Error, ServerConfig, ServerConnection};

use self::tickets::Ticketer;
use super::Hub;
use super::helpers::Busy;
use crate::config::{Certificates, ClientAuth, Clients, Settings, Shown, TlsVersion};
use crate::protocol::certificate::Certificate;
use crate::protocol::tls::Logged;

pub use counts::{TLS_HANDSHAKES, TlsCounts};
pub use failure::TlsFailure;
pub use secrecy::keep_memory_to_itself;
pub use tickets::{SavedTickets, Tickets};

/// What HTTP/1.1 is called among the protocols that a client offers (RFC 7301 section 6). One
/// that offers others only would not understand the answers.
const HTTP_1_1: &[u8] = b"http/1.1";

/// Steps of handshakes that wait for a helper: it does some 5,000 a second, so that the last
/// one waits for a fifth of a second, and checks of tokens behind it too.
const STEPS_WAITING_MAX: usize = 1024;

/// What TLS is served with, if it is.
#[derive(Default)]
pub struct Tls {
    served: RwLock<Option<Arc<Served>>>,
    tickets: Arc<Tickets>,
    reload_failures: AtomicU64,
    counts: TlsCounts,
}

/// One version of it.
#[derive(Debug)]
pub struct Served {
    config: Arc<ServerConfig>,
    /// Clients show certificates, which are looked at in the middle of the handshake.
    pub asks_clients: bool,
    /// The own certificates, and where they were read.
    pub certificates: Vec<(PathBuf, Certificate)>,
}

impl Served {
    /// A handshake on the server's side, and who hears its secrets.
    ///
    /// # Errors
    /// Those of rustls, for which there is no occasion.
    pub fn begin(&self) -> Result<(Box<ServerConnection>, Arc<Logged>), Error> {
        let logged = Arc::new(Logged::default());
        let mut config = (*self.config).clone();
        config.key_log = logged.clone();
        let conn = ServerConnection::new(Arc::new(config))?;
        Ok((Box::new(conn), logged))
    }

    /// For who has rustls carry whole connections.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }
}

impl Tls {
    /// What is served to who comes now; `None` where no TLS is spoken.
    pub fn served(&self) -> Option<Arc<Served>> {
        let served = self.served.read();
        served.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Shows these certificates from now on; `now_s` is the time in seconds since 1970. Whoever
    /// was let in by another set of authorities, or by none, has to show a certificate again.
    ///
    /// # Errors
    /// A sentence; then all stays as it was.
    pub fn serve(
        &self,
        settings: &Settings,
        certificates: Certificates,
        now_s: u64,
    ) -> Result<(), String> {
        let Certificates { all, clients } = certificates;
        let auth = settings.tls_client_auth.name().as_bytes();
        let whose = clients
            .as_ref()
            .map(|clients| [auth, &clients.der].concat());
        let whose = digest(&SHA256, &whose.unwrap_or_default());
        let whose = whose.as_ref().try_into().expect("SHA-256 has 32 bytes");
        let ticketer = Ticketer::new(self.tickets.clone(), whose);
        let made = make(settings, &all, clients.as_ref(), ticketer);
        let config = made.map_err(|error| format!("TLS cannot be served so: {error}"))?;
        self.tickets.belong_to(whose, now_s)?;
        let served = Served {
            config: Arc::new(config),
            asks_clients: clients.is_some(),
            certificates: all
                .into_iter()
                .map(|shown| (shown.chain_file, shown.leaf))
                .collect(),
        };
        let mut place = self.served.write().unwrap_or_else(PoisonError::into_inner);
        *place = Some(Arc::new(served));
        Ok(())
    }

    /// The keys of session tickets.
    pub fn tickets(&self) -> &Tickets {
        &self.tickets
    }

    /// New certificates could not be had, and the old ones stay.
    pub fn note_failed_reload(&self) {
        self.reload_failures.fetch_add(1, Ordering::Relaxed);
    }

    /// What the thread of the listeners beside the public ones counts, of them and of who asks
    /// the server API on public ones.
    pub fn counts(&self) -> &TlsCounts {
        &self.counts
    }

    pub fn failed_reloads(&self) -> u64 {
        self.reload_failures.load(Ordering::Relaxed)
    }
}

impl Hub {
    /// What TLS is served with.
    pub fn tls(&self) -> &Tls {
        &self.tls
    }

    /// Has a step of a handshake done aside, as signatures would hold up a core's topics.
    ///
    /// # Errors
    /// See [`Busy`].
    pub fn shake_aside(&self, step: impl FnOnce() + Send + 'static) -> Result<(), Busy> {
        self.helpers.step(STEPS_WAITING_MAX, step)
    }
}

fn make(
    settings: &Settings,
    all: &[Shown],
    clients: Option<&Clients>,
    ticketer: Ticketer,
) -> Result<ServerConfig, Box<dyn std::error::Error>> {
    // The library that tokens are checked with and records are sealed with.
    let provider: Arc<CryptoProvider> = rustls::crypto::ring::default_provider().into();
    let versions = match settings.tls_version_min {
        TlsVersion::Tls12 => &[&TLS13, &TLS12][..],
        TlsVersion::Tls13 => &[&TLS13],
    };
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_protocol_versions(versions)?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let authorities = clients.authorities.clone();
            let verifier = WebPkiClientVerifier::builder_with_provider(authorities, provider);
            let verifier = match settings.tls_client_auth {
                ClientAuth::Required => verifier,
                ClientAuth::Optional => verifier.allow_unauthenticated(),
            };
            builder.with_client_cert_verifier(verifier.build()?)
        }
    };
    let own = all
        .iter()
        .map(|shown| (shown.leaf.clone(), shown.key.clone()));
    let mut config = builder.with_cert_resolver(Arc::new(Own(own.collect())));
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Arc::new(ticketer);
    // The records are ours from the end of the handshake on.
    config.enable_secret_extraction = true;
    // What comes early may come twice.
    config.max_early_data_size = 0;
    // One for one: whoever comes back with as many connections takes all of them up again, and each
    // ticket costs keys, random numbers and bytes.
    config.send_tls13_tickets = 1;
    Ok(config)
}

/// The own certificates, each with what it says of itself.
#[derive(Debug)]
struct Own(Vec<(Certificate, Arc<CertifiedKey>)>);

impl ResolvesServerCert for Own {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let is_meant = |(leaf, _): &&(Certificate, _)| {
            let host = hello.server_name();
            host.is_some_and(|host| leaf.is_for(host))
        };
        // Of two for one name, the client may understand the signature of only one.
        let is_understood = |(_, key): &&(_, Arc<CertifiedKey>)| {
            key.key.choose_scheme(hello.signature_schemes()).is_some()
        };
        let mut meant = self.0.iter().filter(is_meant);
        let found = meant.find(is_understood);
        let found = found.or_else(|| self.0.iter().find(is_meant));
        let found = found.or_else(|| self.0.iter().find(is_understood));
        let (_, key) = found.or_else(|| self.0.first())?;
        Some(key.clone())
    }
}

#[cfg(test)]
mod tests;
