//! A server's own counters, as Prometheus reads them.
//!
//! Called by the scenario that asks whether a server did work which it need not do.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);
/// What is read of an answer at most.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// Where the counters are had.
#[derive(Debug)]
pub struct Metrics {
    host: String,
    path: String,
}

impl Metrics {
    /// `url` as `http://host:port/path`.
    pub fn new(url: &str) -> Result<Metrics, String> {
        let rest = url.strip_prefix("http://");
        let rest = rest.ok_or_else(|| format!("--metrics {url}: it must begin with http://"))?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, "metrics"));
        let port = host.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(_))) {
            return Err(format!("--metrics {url}: it must name a port"));
        }
        Ok(Metrics {
            host: host.into(),
            path: format!("/{path}"),
        })
    }

    /// A counter, all of its labels added up.
    pub fn read(&self, name: &str) -> Result<u64, String> {
        let failed =
            |what: String| format!("cannot read http://{}{}: {what}", self.host, self.path);
        let answer = self.ask().map_err(|error| failed(error.to_string()))?;
        if !answer.starts_with("HTTP/1.1 200") && !answer.starts_with("HTTP/1.0 200") {
            let status = answer.lines().next().unwrap_or("nothing");
            return Err(failed(format!("it answered {status}")));
        }
        sum_of(&answer, name).ok_or_else(|| failed(format!("it has no {name}")))
    }

    fn ask(&self) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(&self.host)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let (path, host) = (&self.path, &self.host);
        // With an end to wait for.
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
        Ok(answer)
    }
}

fn sum_of(answer: &str, name: &str) -> Option<u64> {
    let values = answer.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let value = match rest.strip_prefix('{') {
            Some(labelled) => labelled.split_once('}')?.1,
            None => rest,
        };
        let value = value.strip_prefix(' ')?.split(' ').next()?;
        Some(value.parse::<f64>().ok()? as u64)
    });
    values.reduce(|sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counters_labels_are_added_up_and_other_names_are_not_taken_for_it() {
        let answer = "# HELP a_total words\na_total{core=\"0\"} 5\na_total{core=\"1\"} 7\na_total_more 9\nb_total 3\n";
        assert_eq!(sum_of(answer, "a_total"), Some(12));
        assert_eq!(sum_of(answer, "b_total"), Some(3));
        assert_eq!(sum_of(answer, "c_total"), None);
    }

    #[test]
    fn an_address_that_cannot_be_asked_says_what_to_write() {
        assert!(
            Metrics::new("https://h:1/")
                .unwrap_err()
                .contains("http://")
        );
        assert!(
            Metrics::new("http://h/metrics")
                .unwrap_err()
                .contains("port")
        );
        let metrics = Metrics::new("http://127.0.0.1:8001").unwrap();
        assert_eq!(
            (&metrics.host[..], &metrics.path[..]),
            ("127.0.0.1:8001", "/metrics")
        );
    }
}
