//! A connection on which one thread asks and another one reads the answers, in the clear or over
//! TLS.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::args::PostArgs;
use crate::tls::{Records, Tls, name_of};

/// How long the server may read nothing, or not shake hands.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is read of records at a time.
const READ_BYTES: usize = 64 << 10;

/// Where the server is, and how it is believed if that is over TLS.
#[derive(Debug)]
pub(super) struct Place {
    address: String,
    tls: Option<(Tls, ServerName<'static>)>,
}

/// What the connections of one client have in common.
pub(super) struct Way<'a> {
    address: &'a str,
    /// The client's tickets are in it.
    tls: Option<(Arc<ClientConfig>, &'a ServerName<'static>)>,
}

/// One connection.
pub(super) struct Wire {
    stream: TcpStream,
    tls: Option<Mutex<Records>>,
}

impl Place {
    /// # Errors
    /// A sentence about the address, or about whom to believe there.
    pub(super) fn new(args: &PostArgs) -> Result<Place, String> {
        let in_clear = args.url.strip_prefix("http://").map(|rest| (rest, false));
        let over_tls = args.url.strip_prefix("https://").map(|rest| (rest, true));
        let (rest, over_tls) = in_clear.or(over_tls).ok_or(
            "--url is the address of a listener for the server API, as http://127.0.0.1:8001 or https://127.0.0.1:8443",
        )?;
        let address = rest.trim_end_matches('/').to_owned();
        let tls = match over_tls {
            false => None,
            true => {
                let name = name_of(&address);
                let name = name.ok_or_else(|| format!("--url {}: no host", args.url))?;
                Some((Tls::new(&args.trust.trust())?, name))
            }
        };
        Ok(Place { address, tls })
    }

    pub(super) fn way(&self) -> Way<'_> {
        Way {
            address: &self.address,
            tls: self.tls.as_ref().map(|(tls, name)| (tls.of_client(), name)),
        }
    }
}

impl Way<'_> {
    pub(super) fn connect(&self) -> io::Result<Wire> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let tls = match &self.tls {
            None => None,
            Some((config, name)) => {
                let records = Records::new(config.clone(), (*name).clone());
                let mut records = records.map_err(io::Error::other)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                records.shake(&mut stream)?;
                stream.set_read_timeout(None)?;
                Some(Mutex::new(records))
            }
        };
        Ok(Wire { stream, tls })
    }
}

impl Wire {
    /// Asks: to be called by one thread alone, so that records go out in their order.
    pub(super) fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let Some(records) = &self.tls else {
            return (&self.stream).write_all(bytes);
        };
        // Nothing is held while it waits for the server to read: answers are read meanwhile.
        let sealed = lock(records).seal(&mut bytes.to_vec());
        (&self.stream).write_all(&sealed)
    }

    /// What the answers are read from.
    pub(super) fn answers(&self) -> Answers<'_> {
        Answers {
            wire: self,
            raw: vec![0; READ_BYTES],
            opened: Vec::new(),
            taken: 0,
        }
    }

    pub(super) fn shutdown(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Both)
    }
}

/// The bytes that the server sends.
pub(super) struct Answers<'a> {
    wire: &'a Wire,
    /// Room for records.
    raw: Vec<u8>,
    /// Content of records, and how much of it has been read.
    opened: Vec<u8>,
    taken: usize,
}

impl Read for Answers<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut stream = &self.wire.stream;
        let Some(records) = &self.wire.tls else {
            return stream.read(into);
        };
        while self.taken == self.opened.len() {
            let len = stream.read(&mut self.raw)?;
            if len == 0 {
                return Ok(0);
            }
            self.opened.clear();
            self.taken = 0;
            // What rustls has to say to it goes out with the next request.
            lock(records).open(&self.raw[..len], &mut self.opened)?;
        }
        let len = (&self.opened[self.taken..]).read(into)?;
        self.taken += len;
        Ok(len)
    }
}

fn lock(records: &Mutex<Records>) -> MutexGuard<'_, Records> {
    // Nobody panics who holds it.
    records.lock().unwrap_or_else(PoisonError::into_inner)
}
