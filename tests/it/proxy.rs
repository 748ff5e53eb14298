//! A way to an OpenBao that does to its answers what networks, proxies and attackers do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ureq::Agent;

use crate::openbao::OpenBao;

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    Forward,
    /// The answer comes after this long.
    Slow(Duration),
    /// Nothing is ever answered.
    Stall,
    /// The answer comes, a byte at a time, and never ends.
    Drip,
    /// The connection ends in the middle of the answer.
    Cut,
    /// Every second request is cut.
    Flap,
    /// This status, header line and body.
    Answer(u16, String, String),
    /// A body without an end.
    Endless,
    /// Headers without an end.
    EndlessHeaders,
    /// What the vault answers to a decryption, with this in the place of the secret.
    Exchange(String),
}

/// A listener on loopback, without TLS.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    mode: Mutex<Mode>,
    requests: AtomicUsize,
    is_over: AtomicBool,
    upstream: (Agent, String),
}

impl Proxy {
    pub fn before(bao: &OpenBao) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("a port").port();
        let shared = Arc::new(Shared {
            mode: Mutex::new(Mode::Forward),
            requests: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            upstream: bao.upstream(),
        });
        let accepting = shared.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                if accepting.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let shared = accepting.clone();
                // A client that has gone is no failure here.
                std::thread::spawn(move || drop(shared.serve(connection)));
            }
        });
        Self { port, shared }
    }

    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn set(&self, mode: Mode) {
        *self.shared.mode.lock().expect("a mode") = mode;
    }

    /// How many requests came since this was last asked.
    pub fn requests(&self) -> usize {
        self.shared.requests.swap(0, Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

struct Asked {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Shared {
    fn serve(&self, mut connection: TcpStream) -> std::io::Result<()> {
        let asked = Asked::read(&connection)?;
        let number = self.requests.fetch_add(1, Ordering::SeqCst);
        let mode = self.mode.lock().expect("a mode").clone();
        let is_cut = mode == Mode::Cut || mode == Mode::Flap && number.is_multiple_of(2);
        if let Mode::Slow(span) = mode {
            std::thread::sleep(span);
        }
        match mode {
            Mode::Stall => self.until_over(|| Ok(())),
            Mode::Drip => {
                connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{")?;
                self.until_over(|| connection.write_all(b" "))
            }
            Mode::Endless => {
                connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{")?;
                loop {
                    connection.write_all(&[b' '; 8192])?;
                }
            }
            Mode::EndlessHeaders => {
                connection.write_all(b"HTTP/1.1 200 OK\r\n")?;
                loop {
                    connection.write_all(b"X-More: and more\r\n")?;
                }
            }
            Mode::Answer(status, header, body) => answer(&mut connection, status, &header, body.as_bytes()),
            Mode::Exchange(secret) if asked.path.contains("/decrypt/") => {
                let body = format!("{{\"data\":{{\"plaintext\":\"{secret}\"}}}}");
                answer(&mut connection, 200, "X: y", body.as_bytes())
            }
            Mode::Forward | Mode::Slow(_) | Mode::Cut | Mode::Flap | Mode::Exchange(_) => {
                let (status, body) = self.forward(&asked);
                let promised = if is_cut { body.len() + 10 } else { body.len() };
                write!(connection, "HTTP/1.1 {status} -\r\nContent-Length: {promised}\r\nConnection: close\r\n\r\n")?;
                connection.write_all(&body[..if is_cut { body.len() / 2 } else { body.len() }])
            }
        }
    }

    fn until_over(&self, mut again: impl FnMut() -> std::io::Result<()>) -> std::io::Result<()> {
        while !self.is_over.load(Ordering::SeqCst) {
            again()?;
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn forward(&self, asked: &Asked) -> (u16, Vec<u8>) {
        let (agent, base) = &self.upstream;
        let mut request =
            ureq::http::Request::builder().method(asked.method.as_str()).uri(format!("{base}{}", asked.path));
        for (name, value) in &asked.headers {
            if name.starts_with("x-") {
                request = request.header(name, value);
            }
        }
        let response = match asked.method.as_str() {
            "GET" => agent.run(request.body(()).expect("a request")),
            _ => agent.run(request.body(asked.body.clone()).expect("a request")),
        };
        let mut response = response.expect("an answer of OpenBao");
        let body = response.body_mut().read_to_vec().expect("a body");
        (response.status().as_u16(), body)
    }
}

fn answer(connection: &mut TcpStream, status: u16, header: &str, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    write!(connection, "HTTP/1.1 {status} -\r\n{header}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")?;
    connection.write_all(body)
}

impl Asked {
    fn read(connection: &TcpStream) -> std::io::Result<Self> {
        let mut reader = BufReader::new(connection);
        let mut line = || {
            let mut text = String::new();
            reader.read_line(&mut text).map(|_| text.trim_end().to_owned())
        };
        let first = line()?;
        let mut words = first.split(' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        let (method, path) = (word(), word());
        let mut headers = Vec::new();
        while let Some((name, value)) = line()?.split_once(": ") {
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let length = headers
            .iter()
            .find(|(name, _)| name == "content-length")
            .map_or(0, |(_, value)| value.parse().expect("a length"));
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        Ok(Self { method, path, headers, body })
    }
}
