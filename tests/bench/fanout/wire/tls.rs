//! A wire within TLS.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::{Fault, Wire};

/// A session with a wire within it.
pub struct Tls<W> {
    session: ClientConnection,
    wire: W,
    plain: Vec<u8>,
}

/// Configuration of a client that trusts this certificate and speaks HTTP/2.
pub fn config(root: CertificateDer<'static>) -> Result<Arc<ClientConfig>, Fault> {
    let mut roots = RootCertStore::empty();
    roots.add(root).map_err(text)?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(text)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

impl<W: Wire> Tls<W> {
    /// Completes the handshake on a blocking socket, and sends these bytes.
    pub fn connect(mut socket: &TcpStream, config: Arc<ClientConfig>, first: &[u8], wire: W) -> Result<Self, Fault> {
        let name = ServerName::try_from("localhost").map_err(text)?;
        let mut session = ClientConnection::new(config, name).map_err(text)?;
        session.writer().write_all(first).map_err(text)?;
        while session.is_handshaking() {
            session.complete_io(&mut socket).map_err(text)?;
        }
        while session.wants_write() {
            session.write_tls(&mut socket).map_err(text)?;
        }
        Ok(Self { session, wire, plain: Vec::new() })
    }
}

impl<W: Wire> Wire for Tls<W> {
    fn take(&mut self, mut bytes: &[u8], reply: &mut Vec<u8>) -> Result<u64, Fault> {
        let (mut events, mut answer) = (0, Vec::new());
        while !bytes.is_empty() {
            self.session.read_tls(&mut bytes).map_err(text)?;
            let state = self.session.process_new_packets().map_err(text)?;
            self.plain.resize(state.plaintext_bytes_to_read(), 0);
            self.session.reader().read_exact(&mut self.plain).map_err(text)?;
            events += self.wire.take(&self.plain, &mut answer)?;
        }
        self.session.writer().write_all(&answer).map_err(text)?;
        while self.session.wants_write() {
            self.session.write_tls(reply).map_err(text)?;
        }
        Ok(events)
    }

    fn ready(&self) -> bool {
        self.wire.ready()
    }

    fn payload(&self) -> Option<u64> {
        self.wire.payload()
    }

    fn decode(&mut self) -> Result<u64, Fault> {
        self.wire.decode()
    }
}

fn text(error: impl std::fmt::Display) -> Fault {
    error.to_string()
}
