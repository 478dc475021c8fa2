//! What a broker is asked, and by whom: its own counts before and after each passage.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::broker::Broker;

const READ_MAX: Duration = Duration::from_secs(10);
const COUNTED: &str = "millstream_requests_total{request=\"";

/// A request's name and a version of it.
pub type Request = (String, i16);
/// Which requests each client or tool sent.
pub type Driven = BTreeMap<&'static str, BTreeSet<Request>>;

/// What was counted so far in the broker's present life, and whose it was in all its lives.
#[derive(Default)]
pub struct Meter {
    seen: BTreeMap<Request, u64>,
    driven: Driven,
    problem: Option<String>,
}

impl Meter {
    /// The broker starts: it counts anew.
    pub fn begin(&mut self) {
        self.seen.clear();
    }

    /// What was asked since the last look was asked by `who`.
    pub fn note(&mut self, who: &'static str, broker: &Broker) {
        let asked = self.look(broker);
        self.driven.entry(who).or_default().extend(asked);
    }

    /// What was asked since the last look was asked by the tests themselves.
    pub fn skip(&mut self, broker: &Broker) {
        self.look(broker);
    }

    /// Who sent what, unless some of it could not be counted.
    pub fn finish(self) -> Result<Driven, String> {
        self.problem.map_or(Ok(self.driven), Err)
    }

    fn look(&mut self, broker: &Broker) -> Vec<Request> {
        let Some(address) = broker.http_address() else {
            return Vec::new();
        };
        let counted = page(&address).and_then(|page| counts(&page));
        let counted = counted.unwrap_or_else(|problem| {
            self.problem.get_or_insert(problem);
            BTreeMap::new()
        });
        let asked = counted.iter();
        let asked = asked.filter(|(request, count)| self.seen.get(*request) != Some(*count));
        let asked = asked.map(|(request, _)| request.clone()).collect();
        self.seen.extend(counted);
        asked
    }
}

fn page(address: &str) -> Result<String, String> {
    let read = || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(READ_MAX))?;
        let ask = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes())?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        Ok(page)
    };
    match read() {
        Ok(page) if page.ends_with("# EOF\n") => Ok(page),
        Ok(page) => Err(format!("http://{address}/metrics said {page}")),
        Err(error) => Err::<_, std::io::Error>(error).map_err(|e| format!("{address}: {e}")),
    }
}

/// The lines `millstream_requests_total{request="Produce",version="13"} 5`.
fn counts(page: &str) -> Result<BTreeMap<Request, u64>, String> {
    let lines = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(COUNTED)?;
        Some((line, rest))
    });
    let counts = lines.map(|(line, rest)| count(rest).ok_or(format!("not understood: {line}")));
    counts.collect()
}

fn count(rest: &str) -> Option<(Request, u64)> {
    let (request, rest) = rest.split_once("\",version=\"")?;
    let (version, count) = rest.split_once("\"} ")?;
    let request = (request.to_owned(), version.parse().ok()?);
    Some((request, count.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_brokers_counts() {
        let page = "# TYPE millstream_requests counter\n\
                    millstream_requests_total{request=\"Fetch\",version=\"4\"} 7\n\
                    millstream_requests_total{request=\"Fetch\",version=\"18\"} 1\n\
                    millstream_requests_refused_total 3\n";
        let expected = [(("Fetch".to_owned(), 4), 7), (("Fetch".to_owned(), 18), 1)];
        assert_eq!(counts(page), Ok(expected.into()));
        assert!(counts("millstream_requests_total{request=\"Fetch\"} 7").is_err());
    }
}
