//! The line to the vault: bytes pass through it as they are, TLS and all, until somebody cuts it.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::outcome::Outcome;

pub struct Line {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    to: (String, u16),
    is_cut: AtomicBool,
    is_over: AtomicBool,
    live: Mutex<Vec<TcpStream>>,
}

impl Line {
    pub fn lay(to: (String, u16)) -> Outcome<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let (is_cut, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
        let shared = Arc::new(Shared { to, is_cut, is_over, live: Mutex::default() });
        let carrying = shared.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                if carrying.is_over.load(Ordering::SeqCst) {
                    return;
                }
                // Whoever calls hears that it is gone.
                drop(carrying.carry(&connection));
            }
        });
        Ok(Self { port, shared })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the certificate of a vault at this host is good for this end of the line, too.
    pub fn leads_to(host: &str) -> bool {
        ["127.0.0.1", "localhost"].contains(&host)
    }

    /// What is on the line breaks off, and nothing comes through any more.
    pub fn cut(&self) {
        self.shared.is_cut.store(true, Ordering::SeqCst);
        let mut live = self.shared.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.drain(..).for_each(|connection| drop(connection.shutdown(Shutdown::Both)));
    }

    pub fn mend(&self) {
        self.shared.is_cut.store(false, Ordering::SeqCst);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

impl Shared {
    fn carry(&self, near: &TcpStream) -> std::io::Result<()> {
        let far = TcpStream::connect((self.to.0.as_str(), self.to.1))?;
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_cut.load(Ordering::SeqCst) {
            return near.shutdown(Shutdown::Both);
        }
        for (from, to) in [(near, &far), (&far, near)] {
            let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
            std::thread::spawn(move || {
                // However it ends, both ends hear of it.
                drop(std::io::copy(&mut from, &mut to));
                drop(to.shutdown(Shutdown::Both));
            });
        }
        live.push(near.try_clone()?);
        live.push(far);
        Ok(())
    }
}
